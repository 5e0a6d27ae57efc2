"""Gather the set of named noises: recordings of open audio packages whose file name says what is heard.

    python recipes/named_noises.py UNPACKED -o named/

UNPACKED holds the contents of the packages of `recipes/open_audio.py`. A label's files are those whose name matches its
pattern, in folders of noises; each is linked as LABEL/NUMBER.SUFFIX. Labels were written down by file name before any
run. Instruments and classes that other sets of evaluation have are left out.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

FOLDERS = r"(?:qabcs.*noises|stamps/(?!symbols)|ufoai|sonic-pi).*/"
# A label, or label:pattern of the file's stem.
LABELS = r"""
accordion airplane bagpipes bass_drum bear bee bicycle bison bull camel:(camel|dromedary) cat:(cat|blackcat)
chimpanzee:chimp(anzee)? clarinet cow:(cow|cow_white) cricket:(grasshopper|cricket_loop) crow cuckoo
cymbals:(cymbals|cymbal_crash|drum_splash_hard|drum_cymbal_open) dolphin donkey drums:(drums|drumkit)
duck:(duck|drake) electric_guitar elephant excavator frog goat:(goat|mountaingoat) goose:(goose|gander) gorilla
grand_piano hammer hand_organ harmonica hen hornet horse hyena kazoo maracas mosquito mouse oboe organ owl penguin
pig quail rocket saxophone scissors:scissors_small_(open|closed) seagull sea_lion sheep:(sheep|sheep_lamb)
skateboard sparrow squirrel thunder:(thunder1|thunder2|thunder3|lightningbolt) tiger timpani toilet_flush:toilet
tractor train trumpet turkey ukulele vacuum_cleaner violin volleyball vulture washing_machine:Washing-machine
whale:(whale|orca) whistle wolf xylophone zipper zither bassoon breaking_glass:breakglass0\d
breaking_wood:breakwood0\d gunshot:bullet-(pistol|pistol2|shotgun|rifle|rifle-1x|sniper)
machine_gun:bullet-(chaingun-\d+x|hmg-\d+x|smg-15x) explosion:explosion(-grenade|-rocket)? door:door\d-(open|close)
footsteps:(gravel|wood|tile|stone)\d crying_woman_scream:civfemscream0\da wind:(arcticwind)
fountain:(waterfontain|water0\d) siren:firetruck fireworks camera:(camera_35mm|camera_lens) snow_steps:snow\d
diesel_engine:diesel-(idle|move) cowbell:drum_cowbell tabla:tabla_(na|ghe\d|te\d|tas\d|tun\d)
tomtom_drum:(drum_tom_\w+|drum_tomtom_floor) burp:misc_burp door_bell:perc_bell2?
record_scratch:vinyl_(scratch|rewind|backspin)
"""


def patterns() -> dict[str, re.Pattern[str]]:
    """By label, what a path ends with."""
    found = {}
    for entry in LABELS.split():
        label, _, pattern = entry.partition(":")
        found[label] = re.compile(rf"{FOLDERS}{pattern or label}\.(?:ogg|flac|wav)$")
    return found


def gather(unpacked: Path, out: Path) -> dict[str, int]:
    """Link the files of every label; how many each has."""
    paths = sorted(path for path in unpacked.rglob("*") if path.suffix in (".ogg", ".flac", ".wav"))
    counts = {}
    for label, pattern in patterns().items():
        files = [path for path in paths if pattern.search(path.as_posix())]
        for number, file in enumerate(files):
            link = out / label / f"{number}{file.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        if files:
            counts[label] = len(files)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unpacked", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    counts = gather(args.unpacked, args.output)
    print(f"{sum(counts.values())} recordings of {len(counts)} labels")


if __name__ == "__main__":
    main()
