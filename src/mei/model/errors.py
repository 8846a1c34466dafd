"""Every error the product raises on purpose.

MeiError                     exit 1  HTTP 500   never raised itself
├── ConfigError              exit 2  HTTP 422   a setting, a YAML key, a flag
│   └── RequestError         exit 2  HTTP 422   a request body that parses but cannot be meant
├── ServiceUnavailableError  exit 3  HTTP 503   a service did not answer within its limit; the run is resumable
├── DataError                exit 4  HTTP 422   candles: names file and line
├── LedgerError              exit 5  HTTP 500   the manifest cannot be used as it is
│   ├── LedgerSchemaError    exit 5  HTTP 500   written by another version
│   ├── ClaimBusyError       exit 5  HTTP 409   somebody else holds the files; try again
│   ├── FencedOffError       exit 5  HTTP 409   the claim was lost to another owner
│   ├── TrainedTwiceError    exit 5  HTTP 409   a bar would be consumed twice
│   └── ConflictError        exit 5  HTTP 409   same key, different content
├── OutputError              exit 6  HTTP 500   a result cannot be written
├── VerificationError        exit 7  HTTP 500   two things that must be equal are not
├── LookAheadError           exit 8  HTTP 500   something newer than now was used
├── NotFoundError            exit 2  HTTP 404   names what exists
├── StrategyError            exit 9  HTTP 500   a strategy raised or broke its contract
└── StoppedError             exit 130 HTTP 409  the user stopped it; what is done is kept, the same command goes on

A message says what must hold, what was found, where, and what to do, in one line.
"""


class MeiError(Exception):
    """Base of the tree; `exit_code`, `http_status` and `code` are class attributes."""

    exit_code = 1
    http_status = 500
    code = "internal"


class ConfigError(MeiError):
    """A setting is wrong: names the variable, the value, and what would be right."""

    exit_code = 2
    http_status = 422
    code = "config"


class RequestError(ConfigError):
    """A request parses but cannot be meant."""

    code = "request"


class NotFoundError(MeiError):
    """A name is unknown: lists what exists."""

    exit_code = 2
    http_status = 404
    code = "not_found"


class ServiceUnavailableError(MeiError):
    """A service did not answer within its limit. The run can be resumed."""

    exit_code = 3
    http_status = 503
    code = "service_unavailable"


class DataError(MeiError):
    """Candles are not what they must be: names file and line."""

    exit_code = 4
    http_status = 422
    code = "data"


class LedgerError(MeiError):
    """The manifest cannot be used as it is."""

    exit_code = 5
    code = "ledger"


class LedgerSchemaError(LedgerError):
    """The manifest was written by another version."""

    code = "ledger_schema"


class ClaimBusyError(LedgerError):
    """Another owner holds a live claim; trying again later is right."""

    http_status = 409
    code = "claim_busy"


class FencedOffError(LedgerError):
    """The claim was taken over; this owner may not publish any more."""

    http_status = 409
    code = "fenced_off"


class TrainedTwiceError(LedgerError):
    """A bar would be consumed twice in exactly-once mode."""

    http_status = 409
    code = "trained_twice"


class ConflictError(LedgerError):
    """The same key arrived with different content."""

    http_status = 409
    code = "conflict"


class OutputError(MeiError):
    """A result cannot be written."""

    exit_code = 6
    code = "output"


class VerificationError(MeiError):
    """Two things that must be equal are not."""

    exit_code = 7
    code = "verification"


class LookAheadError(MeiError):
    """Something newer than the present moment was used. Always a defect, never bad luck."""

    exit_code = 8
    code = "look_ahead"


class StrategyError(MeiError):
    """A strategy raised or broke its contract: names strategy, instrument and bar."""

    exit_code = 9
    code = "strategy"


class StoppedError(MeiError):
    """The user stopped a run. What is done is kept; the same command goes on from there."""

    exit_code = 130
    http_status = 409
    code = "stopped"
