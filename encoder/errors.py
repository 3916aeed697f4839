"""What can be wrong with a picture, or with the weights of the encoder."""


class EncoderError(Exception):
    """Base of all errors of this package. Nothing was changed."""


class PictureUnreadable(EncoderError):
    """The bytes are not a picture in a format that is read here."""


class PictureTooLarge(EncoderError):
    """The picture has more pixels than are taken; found before anything was decoded."""


class PixelsMismatch(EncoderError):
    """The size, stride and bytes of raw pixels do not agree."""


class WeightsUnreadable(EncoderError):
    """The weights file is missing, or is not one of the network's."""
