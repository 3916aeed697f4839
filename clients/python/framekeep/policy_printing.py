"""Policies of keeping in words, for people who read what the command prints, and as options of the command."""

from datetime import timedelta
from decimal import Decimal

from framekeep.policies import MAX_THRESHOLD, MIN_THRESHOLD, Budget, BudgetState, Comparison, KeepingPolicy
from framekeep.tables import shown_age, shown_size

_DIGITS = 15
"""As many as every number of this size keeps."""

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def shown_policy(policy: KeepingPolicy) -> str:
    """`compares with the memory, 1 h back; at most 10 exemplars a minute; budget of 2 % of the frames`."""
    with_what = "the memory" if policy.comparison is Comparison.MEMORY else "the stream alone"
    back = "" if policy.horizon is None else f", {shown_age(policy.horizon)} back"
    parts = [f"compares with {with_what}{back}"]
    if policy.max_exemplars_per_minute is not None:
        most = policy.max_exemplars_per_minute
        parts.append(f"at most {most:,} exemplar{'' if most == 1 else 's'} a minute")
    if policy.min_interval is not None:
        parts.append(f"at least {shown_age(policy.min_interval)} between exemplars")
    if policy.budget is not None:
        parts.append(f"budget of {shown_target(policy.budget)}{_shown_range(policy.budget)}")
    return "; ".join(parts)


def shown_target(budget: Budget) -> str:
    """`2 % of the frames`, `500 exemplars a day` or `1.0 GB a day`."""
    if budget.exemplars_per_day is not None:
        return f"{budget.exemplars_per_day:,.6g} exemplars a day"
    if budget.bytes_per_day is not None:
        return f"{shown_size(round(budget.bytes_per_day))} a day"
    return f"{100 * (budget.share or 0.0):.3g} % of the frames"


def _shown_range(budget: Budget) -> str:
    if (budget.min_threshold, budget.max_threshold) == (MIN_THRESHOLD, MAX_THRESHOLD):
        return ""
    return f" at thresholds from {budget.min_threshold:g} to {budget.max_threshold:g}"


def shown_state(state: BudgetState | None) -> str:
    """`holding, 98 % of the target kept`; `-` without a budget."""
    if state is None:
        return "-"
    condition = state.condition.value.replace("_", " ")
    return (
        condition if state.kept_of_target is None else f"{condition}, {100 * state.kept_of_target:.0f} % of the target"
    )


def policy_options(policy: KeepingPolicy) -> str:
    """The options with which `framekeep memories keep` sets this policy: `--compare memory --horizon 1h`."""
    options = [f"--compare {policy.comparison.value}"]
    if policy.horizon is not None:
        options.append(f"--horizon {_age_option(policy.horizon)}")
    if policy.max_exemplars_per_minute is not None:
        options.append(f"--per-minute {policy.max_exemplars_per_minute}")
    if policy.min_interval is not None:
        options.append(f"--min-interval {_age_option(policy.min_interval)}")
    if policy.budget is not None:
        lowest, highest = policy.budget.min_threshold, policy.budget.max_threshold
        options.append(f"--budget {target_option(policy.budget)}")
        options += [f"--min-threshold {lowest!r}"] if lowest != MIN_THRESHOLD else []
        options += [f"--max-threshold {highest!r}"] if highest != MAX_THRESHOLD else []
    return " ".join(options)


def target_option(budget: Budget) -> str:
    """`2%`, `500/day` or `1GB/day`: what the command takes for this target."""
    if budget.exemplars_per_day is not None:
        return f"{_number(budget.exemplars_per_day)}/day"
    if budget.bytes_per_day is not None:
        size, unit = next((each for each in _UNITS if budget.bytes_per_day >= each[0]), _UNITS[-1])
        return f"{_number(budget.bytes_per_day / size)}{unit}/day"
    return f"{_number(100 * (budget.share or 0.0))}%"


def _number(number: float) -> str:
    """Without an exponent, which no option takes."""
    return format(Decimal(f"{number:.{_DIGITS}g}"), "f")


def _age_option(age: timedelta) -> str:
    whole = shown_age(age).replace(" ", "")
    return whole if not whole.endswith("s") else f"{age.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
