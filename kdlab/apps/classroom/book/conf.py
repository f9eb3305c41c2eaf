"""For Sphinx: the settings of the book; `KDLAB_BOOK` is the folder of an edition's sources."""

import os
from pathlib import Path

from kdlab.apps.i18n import translate

HERE = Path(__file__).parent
SOURCES = Path(os.environ["KDLAB_BOOK"])  # of the edition that its name says, "en" or "zh"
EDITION = SOURCES.name
language = {"en": "en", "zh": "zh_CN"}[EDITION]
project = html_title = translate("book.title", EDITION)
author = copyright = "kdlab"
extensions = ["myst_nb", "kdlab.apps.classroom.book.hooks"]
exclude_patterns = ["_extra", "jupyter_execute"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_code_prompt_show = translate("book.show code", EDITION)
nb_code_prompt_hide = translate("book.hide code", EDITION)
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_all_links_external = True  # kdlab.apps.classroom.book.links has turned them; tests follow each
myst_dmath_double_inline = True

templates_path = [str(HERE / "templates")]
html_theme = "pydata_sphinx_theme"
html_math_renderer = "kd"
html_search_language = "kd"
html_show_search_summary = False  # it fetches pages, which a browser refuses from file://
html_copy_source = html_show_sourcelink = False
html_css_files = ["katex.min.css", "book.css"]
html_js_files = [("katex.min.js", {"defer": "defer"}), ("book.js", {"defer": "defer"})]
html_static_path, html_extra_path = [str(SOURCES / "_static")], [str(SOURCES / "_extra")]
html_context = {"default_mode": "auto", "other_language": "en" if EDITION == "zh" else "zh"}
html_context |= {word: translate(f"book.{word}", EDITION) for word in ("other", "contents")}
html_sidebars = {"**": ["book-nav.html"]}
ASIDE = {f"{folder}/*": ["page-toc"] for folder in ("chapters", "bank", "methods", "guide")}
ASIDE |= dict.fromkeys(("bank/index", "methods/index", "guide/sheet"), [])  # nor any other page
html_theme_options = {
    "navbar_align": "left",
    "navbar_center": [],
    "navbar_persistent": ["book-language.html", "search-button"],
    "navbar_end": ["theme-switcher"],
    "search_bar_text": translate("book.search", EDITION),
    "secondary_sidebar_items": ASIDE,
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": [],
    "shorten_urls": False,
}
