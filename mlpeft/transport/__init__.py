"""What goes over the network: messages, files, certificates, announcements."""
