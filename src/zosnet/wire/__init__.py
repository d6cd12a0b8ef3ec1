"""Codecs: bytes to values and back. Pure; a decoder raises PeerError and nothing else, whatever the bytes.

One module per format: `packet` and `babel` on links, `inner` and `message` end to end, `beacon` on the LAN,
`echo` inside IPv6. docs/protocols/mycelium.md has the layouts in one place.
"""
