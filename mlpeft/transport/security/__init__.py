"""Access to the cluster: certificates, join tokens and the list of workers."""
