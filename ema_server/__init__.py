"""The service: phones in, answers kept, nights analysed, reports read."""

__version__ = "0.1.0"
