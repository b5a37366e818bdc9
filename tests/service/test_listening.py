"""The listening socket."""

import gc
import socket

import httpx
from fastapi import FastAPI

from textkeep.service.listening import Listening


def test_an_answer_leaves_at_once_and_waits_for_no_acknowledgement_of_its_beginning() -> None:
    """Without TCP_NODELAY an answer takes 44 ms: its second write waits for the other end's delayed acknowledgement."""
    listening = Listening(FastAPI())
    with httpx.Client(base_url=listening.url) as client:
        client.get("/openapi.json")
        here = [each for each in gc.get_objects() if isinstance(each, socket.socket) and is_at(each, listening.port)]
        assert len(here) == 2, "the one that listens, and the one that was accepted"
        assert all(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in here)
    listening.close()


def is_at(each: socket.socket, port: int) -> bool:
    """Whether a socket is open and its own end has that port."""
    return each.fileno() >= 0 and each.family == socket.AF_INET and each.getsockname()[1] == port
