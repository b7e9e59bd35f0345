"""`kaitoctl chat`: chat with the model that a Workspace serves."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_Url = Annotated[
    str,
    typer.Option(
        "--url",
        help="URL of the server, such as a port-forward (default: the API proxy).",
        metavar="URL",
    ),
]
_Compare = Annotated[
    str,
    typer.Option(
        "--compare",
        help="Answer at several strengths of an adapter (kaitoctl's own server).",
        metavar="NAME=S,S,...",
    ),
]


@app.command()
@options.grouped
def chat(
    name: options.ServedName,
    prompt: Annotated[
        str | None,
        typer.Argument(help="The prompt; without it, and with -, stdin is read.", metavar="[PROMPT]"),
    ] = None,
    system: Annotated[str, typer.Option("--system", help="System prompt.", metavar="TEXT")] = "",
    adapter: Annotated[
        str,
        typer.Option("--adapter", help="Ask this adapter instead of the base model (vLLM).", metavar="NAME"),
    ] = "",
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", help="Maximum tokens of the answer.", min=1)
    ] = 512,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            help="Sampling temperature.",
            min=0,
            max=2,
            callback=options.number,
        ),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Stream the answer (vLLM).")] = True,
    url: _Url = "",
    compare: _Compare = "",
    target_version: options.MadeBy = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Send a prompt to a Workspace's model, or chat with it; only its answer goes to stdout.

    On a terminal without a prompt each line is a turn; /clear starts again, Ctrl-D ends.

    \b
    Examples:
      kaitoctl chat workspace-falcon-7b "What is Kubernetes?"
      kaitoctl chat demo --compare style=0,0.2,0.5,1 "What is Kubernetes?"
    """
    from kaitoctl.commands import chat

    chat.chat(
        name=name,
        prompt=prompt,
        system=system,
        adapter=adapter,
        max_tokens=max_tokens,
        temperature=temperature,
        stream=stream,
        url=url,
        compare=compare,
        target_version=target_version,
        target=target,
    )
