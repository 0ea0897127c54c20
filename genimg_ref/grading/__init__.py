"""Marks for notebooks that nobody trusts: notebook -> answers -> verdicts -> reports.

The oracle stays outside. This process holds cases, seeds, reference and marks; it reads a submission as text
and never imports, executes or unpickles anything of it. The answers run in a process of their own, behind
walls (`sandbox`), and what comes back is data of few kinds, bounded in size (`inside.wire`).
"""
