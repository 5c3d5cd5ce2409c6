"""Pictures of environments, drawn on NumPy alone. Nothing here is imported before the first picture but the registry."""

from metarl_core.vector.render.registry import Drawing, drawing_of, register_drawing, render_fps

__all__ = ["Drawing", "drawing_of", "register_drawing", "render_fps"]
