"""What `order_processing.py` is made of: the data, the activities, the desk that takes orders, what it prints."""
