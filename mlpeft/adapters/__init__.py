"""What a meta-learned start is for: adapters for tasks of one's own, made and used."""
