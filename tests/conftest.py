"""Check the annotated shapes of the whole package while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("genimg_ref", "beartype.beartype")
