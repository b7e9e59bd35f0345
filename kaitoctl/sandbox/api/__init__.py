"""The API server without its sockets. Pure.

`routes`: which resource and verb a request means. `requests`: queries, bodies, responses.
`kinds`: what is served. `reads`, `watches`: what is shown. `writes`, `server_side_apply`,
`subresources`, `deletes`: what changes. `identity`: which object a body means. `garbage`: what
deletions entail. `sandbox.server` puts it all on a port.
"""

from __future__ import annotations

from kaitoctl.sandbox.api.requests import Call, Response
from kaitoctl.sandbox.api.routes import Api
from kaitoctl.sandbox.api.watches import Watch

__all__ = ["Api", "Call", "Response", "Watch"]
