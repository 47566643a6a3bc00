"""Every error that a person can cause. Pages and the command line show the message as it stands.

A message says what was given, what is allowed and what to do. Anything that is not a
:class:`NumembedError` is a bug and is shown as one.
"""


class NumembedError(Exception):
    """A sentence for the person at the page or terminal."""


class UnknownName(NumembedError):
    """No registered thing has this name."""


class BadChoice(NumembedError):
    """A value outside what is allowed."""


class TooLarge(NumembedError):
    """More than this installation computes; the limits stand in ``settings.LIMITS``."""


class ModelUnavailable(NumembedError):
    """A model that cannot be found, fetched or loaded."""


class BadSettings(NumembedError):
    """Something is wrong in what the operator has set."""


class CheckFailed(NumembedError):
    """A model was loaded and does not do what its makers say; its vectors would be wrong."""


class AcceleratorLost(NumembedError):
    """The graphics card no longer responds; only a new process can use it again."""


class RemoteFailed(NumembedError):
    """An endpoint gave no answer, or a wrong one; nothing of that batch was stored."""


class NonFiniteVectors(NumembedError):
    """A model answered with NaN or infinity; nothing of it was stored."""


class TrainingFailed(NumembedError):
    """A training cannot continue; saved stages are kept."""


class StoreFull(NumembedError):
    """The disk is full; what was stored before stays readable."""


class StoreUnreadable(NumembedError):
    """A file of the store cannot be read or was written by a newer version."""


class Cancelled(NumembedError):
    """Somebody has stopped the run; what was done is kept."""
