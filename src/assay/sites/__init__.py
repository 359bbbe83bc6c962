"""Where in a model a tensor lives: address it, read it, replace it. Plain forward hooks; any `torch.nn.Module`.

site = locate(model, "resid_post.10")              "h.10:out" and "blocks.10.hook_resid_post" are the same place
x = capture(model, [site], **inputs)[site]         one forward without gradient, which ends there
with replace(model, {site: lambda x: 0 * x}):      the forward goes on with what the function returns
    model(**inputs)
"""

from assay.sites.address import Site
from assay.sites.aliases import list_sites, locate
from assay.sites.hooks import capture, replace
from assay.sites.readout import readout
from assay.sites.tap import tap

__all__ = ["Site", "capture", "list_sites", "locate", "readout", "replace", "tap"]
