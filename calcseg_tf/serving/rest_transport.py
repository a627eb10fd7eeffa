"""TensorFlow Serving by REST: strings alone, in base64; an image of JSON numbers would take minutes."""

import base64
import http.client
import json
import re
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from calcseg_tf.serving.transport import ModelTarget, Security, ServerError, Trouble, server_says
from data_prep.errors import InputError

__all__ = ["RestTransport"]

_TROUBLES = {
    404: Trouble.NO_MODEL,
    408: Trouble.LATE,
    413: Trouble.TOO_LARGE,
    429: Trouble.BUSY,
    503: Trouble.ABSENT,
    504: Trouble.LATE,
    400: Trouble.REFUSED,
}
_BY_TEXT = (
    (re.compile(r"serving signature .*not found", re.IGNORECASE), Trouble.NO_SIGNATURE),
    (re.compile(r"unrecognized servable version label|servable not found", re.IGNORECASE), Trouble.NO_MODEL),
)
_MOST_BYTES = 1 << 29  # more than the largest image as 16-bit PNG in base64


class RestTransport:
    """Implements `Transport` for signatures of strings."""

    def __init__(self, server: str, target: ModelTarget, deadline_s: float, security: Security) -> None:
        """Remembers where the server is; every request has a connection of its own.

        Args:
            server: host:port.
            target: The model.
            deadline_s: Seconds that a request may wait for the server.
            security: Whether to encrypt.

        Raises:
            InputError: The address or the certificate cannot be read.
        """
        parts = urllib.parse.urlsplit(f"//{server}")
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise InputError(f"--server must be host:port; found {server!r}") from None
        self._deadline_s = deadline_s
        self._context = _context(security)
        self._model = f"/v1/models/{urllib.parse.quote(target.name, safe='')}"
        self._chosen = self._model
        if target.version is not None:
            self._chosen += f"/versions/{target.version}"
        elif target.label:
            self._chosen += f"/labels/{urllib.parse.quote(target.label, safe='')}"
        self._status = self._model if target.label else self._chosen

    def versions(self) -> dict[int, str]:
        """As `Transport.versions`; for a label, of all versions."""
        answer = self._ask("GET", self._status)
        try:
            return {int(each["version"]): str(each["state"]) for each in answer["model_version_status"]}
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ServerError(Trouble.OTHER, "it tells no model_version_status") from None

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Transport.predict`; inputs and outputs are strings."""
        encoded = {name: [{"b64": base64.b64encode(each).decode()} for each in value] for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": encoded}).encode()
        outputs = self._ask("POST", f"{self._chosen}:predict", body).get("outputs")
        # A server leaves out the name where there is one output.
        named: dict[str, Any] = outputs if isinstance(outputs, dict) else {"": outputs}
        try:
            return {name: np.array([_decode(each) for each in value], object) for name, value in named.items()}
        except (TypeError, ValueError, KeyError):
            raise ServerError(Trouble.OTHER, "it answers with something else than strings") from None

    def close(self) -> None:
        """As `Transport.close`; each request has a connection of its own."""

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            status, content = self._request(method, path, body)
        except TimeoutError:
            raise ServerError(Trouble.LATE, "") from None
        except ssl.SSLError as error:
            raise ServerError(Trouble.OTHER, f"TLS: {error.reason or error}") from None
        except http.client.RemoteDisconnected as error:
            raise ServerError(Trouble.ABSENT, str(error)) from None
        except (http.client.HTTPException, OverflowError) as error:
            raise ServerError(Trouble.OTHER, f"no HTTP ({type(error).__name__}); is this its gRPC port?") from None
        except UnicodeError:  # of Python's encoding of host names
            raise ServerError(Trouble.ABSENT, "no such host name") from None
        except OSError as error:
            raise ServerError(Trouble.ABSENT, error.strerror or str(error)) from None
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if status == http.HTTPStatus.OK and isinstance(answer, dict):
            return answer
        told = answer.get("error", "") if isinstance(answer, dict) else ""
        told = told if isinstance(told, str) else ""
        trouble = next((by_text for pattern, by_text in _BY_TEXT if pattern.search(told)), None)
        raise ServerError(trouble or _TROUBLES.get(status, Trouble.OTHER), server_says(told) or f"HTTP status {status}")

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._context is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._deadline_s)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._deadline_s, context=self._context
            )
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            content = response.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise ServerError(Trouble.OTHER, f"it answers with more than {_MOST_BYTES} bytes")
            return response.status, content
        finally:
            connection.close()


def _decode(value: Any) -> bytes:
    """Takes a string output: base64 where its name ends in _bytes, text otherwise."""
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value["b64"], validate=True)


def _context(security: Security) -> ssl.SSLContext | None:
    if not security.tls:
        return None
    try:
        return ssl.create_default_context(cafile=security.ca_file)
    except OSError as error:  # ssl.SSLError too
        raise InputError(f"--tls_ca_file cannot be read ({error.strerror or error})", security.ca_file) from None
