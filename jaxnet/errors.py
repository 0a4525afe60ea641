"""What jaxnet raises when something from outside cannot be used."""


class InputError(ValueError):
    """Bad input, refused at the door: the message names the value, the place and the cure."""
