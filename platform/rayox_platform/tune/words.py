"""Numbers in sentences."""


def count(number: int, what: str) -> str:
    """ "1 epoch", "2 epochs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
