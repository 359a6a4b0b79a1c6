"""The client: starts workflow instances and manages them."""
