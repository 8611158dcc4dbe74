"""The command that serves a run as a page in the browser."""

from __future__ import annotations

from threading import Event
from typing import Annotated

import typer

from rddm.cli._app import Changes, Device, Run, app


@app.command()
def demo(
    run: Run,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others in the network use it")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, show_default=False, help="by default a free one from 7860 on")
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="through a public address, too, by the servers of gradio.app")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    changes: Changes = None,
    device: Device = None,
) -> None:
    """Serve a page on which photographs are restored, or images drawn, by a run, with steps, eta and seed to choose.

    Needs the extra `demo`. Nothing leaves this machine unless --host or --share is given. Ctrl-C stops it.
    """
    from rddm.core.trainer import load
    from rddm.demo import serve

    blocks, address = serve(
        load(run, device, overrides=changes or []), run.resolve().name, host=host, port=port, share=share
    )
    print(f"{address}  (Ctrl-C stops)", flush=True)
    if open_:
        import webbrowser

        webbrowser.open(address)
    try:
        Event().wait()
    finally:
        blocks.close()
