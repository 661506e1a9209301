"""The bill of materials of a release: a file of CycloneDX that names every package of every lock."""

from __future__ import annotations

import uuid
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from deploy.dependencies.locks import Locked, read_locks
from registry.release import RELEASE

NAME = "microcredential-registry"
FILE = f"{NAME}-{RELEASE}.cdx.json"


def write_sbom(folder: Path) -> Path:
    """Writes the file, whose bytes follow from the release and the locks alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text(sbom())
    return path


def sbom() -> str:
    components = [_component(locked) for locked in read_locks()]
    this = Component(
        type=ComponentType.APPLICATION,
        name=NAME,
        version=RELEASE,
        bom_ref=NAME,
        licenses=[LicenseExpression("EUPL-1.2")],
    )
    content = "\n".join(component.bom_ref.value or "" for component in components)
    bom = Bom(
        components=components,
        metadata=BomMetaData(component=this),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}/{RELEASE}\n{content}"),
    )
    bom.metadata.timestamp = None  # type: ignore[assignment] # optional in CycloneDX: the bytes can be compared
    bom.register_dependency(this, components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(locked: Locked) -> Component:
    purl = PackageURL(locked.kind, locked.group or None, locked.name, locked.version)
    return Component(
        type=ComponentType.LIBRARY,
        group=locked.group or None,
        name=locked.name,
        version=locked.version,
        purl=purl,
        bom_ref=str(purl),
        scope=ComponentScope(locked.scope),
        hashes=[HashType(alg=HashAlgorithm(name), content=digest) for name, digest in locked.hashes],
    )
