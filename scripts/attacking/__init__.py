"""What a penetration tester tries on the finished binary (`scripts/attacks.py`)."""
