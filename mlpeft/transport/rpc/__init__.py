"""What travels between the coordinator and its workers, and how."""
