"""Flags that the programs which bring strategy files to traders share: one owner, one text each.

Limits of what the flags may say are asked by the workflows, whichever program has the flag.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

ArtifactsFlag = Annotated[
    str,
    typer.Option("--artifacts-dir", help="Folder of runs, registry and records of deployments."),
]
RegistryFlag = Annotated[
    str | None,
    typer.Option("--registry-db", help="[default: registry/registry.sqlite in --artifacts-dir]"),
]
NowFlag = Annotated[
    int | None,
    typer.Option("--now-ms", min=0, help="Epoch ms UTC instead of the clock's.  [default: now]"),
]
#: Of programs that write paper's strategy file.
YamlFlag = Annotated[str, typer.Option("--yaml-path", help="Strategy file of the paper trader.")]
DEFAULT_YAML = "config/strategy_overrides.yaml"
#: Of programs that judge what was deployed, which know the file from its record.
DeployedYamlFlag = Annotated[
    str | None,
    typer.Option(
        "--yaml-path",
        help="Strategy file of the paper trader.  [default: as the deployment says]",
    ),
]
LiveYamlFlag = Annotated[
    str | None,
    typer.Option(
        "--live-yaml-path",
        help="Strategy file of the live trader, not that of paper.  [default: none, it is only judged]",
    ),
]
PaperDbFlag = Annotated[
    str,
    typer.Option(
        "--paper-db",
        envvar="AI_QUANT_PAPER_DB_PATH",
        help="Trading database of the paper trader.",
    ),
]

MinTradesFlag = Annotated[
    int, typer.Option("--min-trades", help="Closed ones; these or --min-hours.")
]
MinHoursFlag = Annotated[float, typer.Option("--min-hours", help="Since the deployment to paper.")]
MinProfitFactorFlag = Annotated[float, typer.Option("--min-profit-factor", help="Net of fees.")]
MaxDrawdownFlag = Annotated[
    float, typer.Option("--max-drawdown-pct", help="Of balance or equity, in percent.")
]
MaxSlippageFlag = Annotated[
    float, typer.Option("--max-config-slippage-bps", help="Of the file; 0 or less = any.")
]
MaxKillsFlag = Annotated[int, typer.Option("--max-kill-events", help="Switches thrown by a loss.")]
AllowLiveLayerFlag = Annotated[
    bool,
    typer.Option("--allow-live-layer", help="Pass a layer `live`, which paper did not trade."),
]

RestartFlag = Annotated[
    Literal["auto", "always", "never"],
    typer.Option("--restart", help="Of the paper trader; auto: when the file's intervals changed."),
]
ServiceFlag = Annotated[
    str | None,
    typer.Option("--service", help="Unit of the paper trader.  [default: $PAPER_SERVICE]"),
]
WsServiceFlag = Annotated[
    str | None, typer.Option("--ws-service", help="Unit that is restarted before it.")
]
PauseFileFlag = Annotated[
    str | None, typer.Option("--pause-file", help="Written while it restarts.")
]
PauseModeFlag = Annotated[
    Literal["close_only", "halt_all"],
    typer.Option("--pause-mode", help="What the trader does meanwhile."),
]
LeavePausedFlag = Annotated[bool, typer.Option("--leave-paused", help="The pause file stays.")]
VerifySleepFlag = Annotated[
    float,
    typer.Option("--verify-sleep-s", help="Seconds to come up before it is looked at."),
]
NoValidateFlag = Annotated[
    bool, typer.Option("--no-validate", help="Deploy a file that lacks settings, too.")
]
