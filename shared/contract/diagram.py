"""The state table as a Mermaid diagram, for ARCHITECTURE.md, where `make generate` puts it.

Owns how the table looks, nothing of what it says. A test holds the document to this text.
"""

from __future__ import annotations

from shared.contract.jobs import TERMINAL, TRANSITIONS, Guard, JobState, Trigger


def render() -> str:
    """A fenced Mermaid state diagram: one arrow for all triggers that share source, target and guard."""
    arrows: dict[tuple[JobState, JobState, Guard], list[str]] = {}
    for row in TRANSITIONS:
        # Every state has this arrow; drawn, they would hide the others.
        if row.trigger is not Trigger.INCONSISTENT:
            arrows.setdefault((row.source, row.target, row.guard), []).append(row.trigger.value)
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {JobState.QUEUED}: submit",
        f"    [*] --> {JobState.TRY_AGAIN_LATER}: submit [resource limit]",
    ]
    for (source, target, guard), triggers in arrows.items():
        condition = "" if guard is Guard.ALWAYS else f" [{guard}]"
        lines.append(f"    {source} --> {target}: {', '.join(triggers)}{condition}")
    lines.extend(f"    {state} --> [*]" for state in JobState if state in TERMINAL)
    lines.append(f"    {JobState.STATE_UNSPECIFIED}")
    lines.append(f"    note right of {JobState.STATE_UNSPECIFIED}")
    lines.append(f"        {Trigger.INCONSISTENT}: from any state that is not terminal")
    lines.append(f"        {Trigger.RECONCILED}: to the state that the reconciler finds")
    lines.append("    end note")
    lines.append("```")
    return "\n".join(lines)
