"""Parameter-efficient fine-tuning: a frozen base and a few leaves that adapt."""
