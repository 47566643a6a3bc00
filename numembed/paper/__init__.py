"""The paper: its protocol, its published numbers, and its claims put to the test."""
