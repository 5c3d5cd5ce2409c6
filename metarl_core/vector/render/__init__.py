"""Pictures of environments, on NumPy alone. All but the registry is imported when the first one is drawn."""

from metarl_core.vector.render.registry import Drawing, drawing_of, register_drawing, render_fps

__all__ = ["Drawing", "drawing_of", "register_drawing", "render_fps"]
