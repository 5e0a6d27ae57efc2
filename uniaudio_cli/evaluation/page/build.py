"""stub"""

from uniaudio_cli.evaluation.systems import MissingLibrary


def write(results, folder, path):
    raise MissingLibrary("stub")
