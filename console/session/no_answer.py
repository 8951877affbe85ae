"""Why an engine does not answer, as a sentence with the next step. Pure."""

from console.model.engine import EngineState

_NOT_GRPC = ("last error: OK", "SETTINGS frame", "http1.x server", "Socket closed", "Connection reset")
"""What gRPC reports if something listens that closes the connection, is silent, or speaks another protocol."""


def no_answer(address: str, code: str, details: str) -> str:
    """Returns why no engine has answered at `address`. `code` and `details` are those of the failed gRPC call."""
    port = address.rpartition(":")[2]
    if "Connection refused" in details:
        return (
            f"nothing listens at {address} (connection refused): start an engine there (engine serve --port {port}), or"
            " leave out --connect"
        )
    if "DNS resolution failed" in details:
        return f"the host of {address} is not known (its name cannot be resolved): check the address"
    if code == "UNIMPLEMENTED":
        return f"a server answers at {address}, but it is no engine: check the address"
    if any(part in details for part in _NOT_GRPC):
        return f"something listens at {address}, but it does not speak gRPC: check the address"
    if code == "DEADLINE_EXCEEDED":
        return f"no answer from {address} in time: check the address, and the engine on its own host"
    return f"no answer from {address} ({details or code}): check the address, and the engine on its own host"


def not_serving(state: EngineState, connect: str) -> str:
    """Returns why a command that needs a serving engine is refused. `connect`: the address of a remote engine."""
    if connect:
        return f"no answer from {connect}: try again when the engine answers"
    return {
        EngineState.STOPPED: "no engine runs: start it first",
        EngineState.STARTING: "the engine is still starting: wait until it serves",
        EngineState.DRAINING: "the engine is draining: start it again when it has stopped",
        EngineState.LOST: "the engine was lost: restart it first",
    }.get(state, "the engine does not answer yet")
