"""All hostile and odd submissions, from the modules that make them."""

import hostile_answers
import hostile_processes
import hostile_spies
import hostile_wire
import odd
from payloads import CHAPTERS, HONEST, IMPORTS, PAYLOADS, POINTS, Payload

MODULES = (hostile_answers, hostile_processes, hostile_wire, hostile_spies, odd)
__all__ = ["CHAPTERS", "HONEST", "IMPORTS", "MODULES", "PAYLOADS", "POINTS", "Payload"]
