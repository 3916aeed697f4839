"""Asks a server whether it serves: `python -m service.probe HOST:PORT`. For container health checks."""

import sys

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 4.0
"""A server that is not stuck answers in milliseconds."""


@click.command()
@click.argument("address")
def main(address: str) -> None:
    """Exit with 0 if the server at ADDRESS (HOST:PORT) serves, else with 1 and a line that says why."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # its stubs leave it out
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
            )
        except grpc.RpcError as error:
            raise click.ClickException(f"{address}: {error.code().name}") from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    click.echo(f"{address}: {status}")
    sys.exit(answer.status != health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    main()
