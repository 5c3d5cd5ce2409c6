"""How the page looks."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
:root { --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --paper: #ffffff; --ground: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { background: #102a43; color: #d9e2ec; padding: .8rem max(1rem, calc((100vw - 1120px) / 2)); font-size: .95rem; }
header .brand { color: #fff; font-weight: 700; margin-right: .4rem; }
header .made { float: right; color: #9fb3c8; }
main { max-width: 1120px; margin: 0 auto; padding: 0 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 2.2rem 0 .4rem; }
h2 { font-size: 1.2rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
section > h2 { margin: 2.2rem 0 .6rem; }
.headline { font-size: 1.3rem; line-height: 1.45; font-weight: 500; max-width: 60rem; margin: 0 0 1.2rem; }
.note, figcaption { color: var(--soft); font-size: .92rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.card { flex: 1 1 220px; background: var(--paper); border: 1px solid var(--line); border-top: 5px solid;
  border-radius: 8px; padding: .9rem 1.1rem; }
.card .name { font-weight: 600; color: var(--soft); }
.card .big { font-size: 1.9rem; font-weight: 700; line-height: 1.25; }
.card.bad .big { color: #8a94a0; }
.card .small { color: var(--soft); font-size: .95rem; }
figure { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; margin: 1.4rem 0;
  padding: 1.1rem 1.2rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { margin-top: .6rem; max-width: 60rem; }
.wide { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
td:first-child { max-width: 18rem; overflow: hidden; text-overflow: ellipsis; }
.run { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1.1rem;
  margin: .8rem 0; }
.run p { margin: .5rem 0; color: var(--soft); font-size: .92rem; }
pre { background: var(--ground); border-radius: 6px; padding: .6rem .8rem; margin: .3rem 0; overflow-x: auto;
  font-size: .88rem; }
pre.command { white-space: pre-wrap; }
summary { cursor: pointer; color: var(--soft); }
.missing { color: var(--soft); }
@media print { body { background: #fff; } figure, .run, .card { break-inside: avoid; } }
"""
