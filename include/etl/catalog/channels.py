"""The channels that notices may use.

Each notice has its own pace; the pace here limits what one server gets from all notices together.
"""

from etl.declare.channel import AddressFormat, Channel

EMAIL = Channel("email", lines=("subject",), texts=("text", "html"), pace=5_000, address=AddressFormat.MAIL)
PUSH = Channel("push", lines=("title", "url"), texts=("body",), pace=5_000)
DESKTOP = Channel("desktop", lines=("title", "url"), texts=("body",), pace=1_000, address=AddressFormat.JSON)
