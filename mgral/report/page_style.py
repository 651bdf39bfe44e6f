"""How the page of a batch looks: one stylesheet for narrow and wide, light and dark screens and for paper."""

from __future__ import annotations

import base64
import hashlib

from mgral.report.colours import COLOURS, ink

_CLASSES = "\n".join(f".c{row} {{ --c: {colour}; --ink: {ink(colour)} }}" for row, colour in enumerate(COLOURS))
STYLE = f"""
:root {{ color-scheme: light dark; --page: #f3f4f6; --card: #ffffff; --text: #16181d; --dim: #4f5663; --line: #d5d9e0;
  --mat: #e7e9ee }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #14161a; --card: #1f2228; --text: #eceef2; --dim: #b3bac6;
  --line: #3a3f49; --mat: #0c0d10 }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0; background: var(--page); color: var(--text); font: 16px/1.45 system-ui, sans-serif;
  overflow-wrap: anywhere }}
header, main {{ max-width: 1720px; margin: 0 auto; padding: 16px }}
h1 {{ margin: 0 0 4px; font-size: 26px; line-height: 1.2 }}
h2 {{ margin: 16px 0 4px; font-size: 16px }}
p {{ margin: 4px 0 }}
ul, ol {{ margin: 4px 0; padding: 0 }}
.next {{ max-width: 90ch; padding-left: 22px }}
.next li {{ margin: 2px 0 }}
.classes {{ display: flex; flex-wrap: wrap; gap: 2px 16px; list-style: none }}
.classes.small {{ gap: 0 12px; font-size: 14px }}
.classes i {{ display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 3px;
  background: var(--c); box-shadow: 0 0 0 1px var(--dim) }}
.batch {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 16px; margin: 0;
  list-style: none }}
.batch > li {{ min-width: 0; overflow: hidden; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px }}
figure {{ margin: 0 }}
.mat {{ display: flex; justify-content: center; background: var(--mat) }}
.picture {{ position: relative; max-width: 100%; line-height: 0 }}
.picture img {{ max-width: 100%; height: auto }}
.picture svg {{ position: absolute; inset: 0; width: 100%; height: 100% }}
.picture rect {{ fill: none; pointer-events: all; stroke: var(--c); stroke-width: 2 }}
.picture .halo {{ stroke: #ffffff; stroke-width: 4; stroke-opacity: 0.7; pointer-events: none }}
.picture g:hover rect {{ stroke-width: 4 }}
.picture text {{ fill: var(--ink); stroke: var(--c); stroke-width: 4; stroke-linejoin: round; paint-order: stroke;
  font: 600 12px system-ui, sans-serif; pointer-events: none }}
figcaption {{ padding: 8px 12px 10px }}
figcaption h2 {{ margin: 0; font-size: 14.5px; font-weight: 600 }}
.dim {{ color: var(--dim); font-size: 14px }}
{_CLASSES}
@media print {{
  :root {{ color-scheme: light; --page: #ffffff; --card: #ffffff; --text: #000000; --dim: #333333; --line: #999999;
    --mat: #ffffff }}
  * {{ print-color-adjust: exact }}
  body {{ font-size: 12px }}
  figcaption h2, .dim, .classes.small {{ font-size: 10px }}
  header, main {{ padding: 0 0 8px }}
  .batch {{ grid-template-columns: repeat(3, 1fr); gap: 8px }}
  .batch > li {{ break-inside: avoid }}
}}
"""
POLICY = ("default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src "
          f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'")
"""A Content-Security-Policy that allows this stylesheet, embedded pictures and nothing else: no script, no address."""
