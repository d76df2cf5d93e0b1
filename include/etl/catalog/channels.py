"""The channels that notices may use.

Each notice has a pace of its own; what stands here is what one server takes from all of them together.
"""

from etl.declare.channel import Channel

EMAIL = Channel(
    "email",
    lines=("subject",),
    texts=("text", "html"),
    pace=5_000,
    address=r"(?=.{6,254}$)[^@\s<>,;:\"()\[\]\\]{1,64}@[^@\s<>,;:\"()\[\]\\.]+(\.[^@\s<>,;:\"()\[\]\\.]+)+",
)
PUSH = Channel("push", lines=("title", "url"), texts=("body",), pace=5_000)
DESKTOP = Channel("desktop", lines=("title", "url"), texts=("body",), pace=1_000, address=r"(?s)\s*\{.+\}\s*")
