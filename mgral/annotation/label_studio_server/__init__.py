"""A Label Studio server, by its REST API: a project a batch, its tasks in, what people labelled out.

`Server` asks and says what is wrong with an answer, `Project` is one project of it, `pictures` says how a task's
picture is shown, `send` brings a batch there. Measured with Label Studio 1.23.
"""

from mgral.annotation.label_studio_server.pictures import Addressed, Pictures, Served, Uploaded
from mgral.annotation.label_studio_server.project import Project, create, find, open_project
from mgral.annotation.label_studio_server.sending import Batch, Sent, send
from mgral.annotation.label_studio_server.server import TOKEN, Server, address_of, token_from

__all__ = ["TOKEN", "Addressed", "Batch", "Pictures", "Project", "Sent", "Served", "Server", "Uploaded", "address_of",
           "create", "find", "open_project", "send", "token_from"]
