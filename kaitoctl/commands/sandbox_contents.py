"""`kaitoctl sandbox model ...` and `kaitoctl sandbox image ...`: what is real in a sandbox."""

from __future__ import annotations

from pathlib import Path

from kaitoctl.advice import NO_FLAGS, Command
from kaitoctl.commands import listing, sandbox_models, sandbox_process
from kaitoctl.errors import InputError
from kaitoctl.kaito.catalog import SHIPPED, close_matches
from kaitoctl.kaito.validation import grammar
from kaitoctl.runtime import extra_packages, hugging_face, model_store, models
from kaitoctl.screens import output


def set_model(*, preset: str, model: str, sandbox_name: str) -> None:
    """Let pods of a preset serve a model of this machine."""
    folder = sandbox_process.folder(sandbox_name)
    name = sandbox_models.named(preset, SHIPPED)
    if not name:
        near = close_matches(preset, [*SHIPPED.model_names(), *SHIPPED.presets])
        hint = f"did you mean {near[0]}?" if near else "kaitoctl models lists them"
        raise InputError(f'preset "{preset}" is not in the catalog', hint=hint)
    extra_packages.require()
    path = model_store.resolve(model).absolute()
    _check(path)
    sandbox_models.set_model(folder, name, path)
    output.success(f"pods of {preset} made from now on serve {path} on this machine's CPU")


def _check(path: Path) -> None:
    if not path.is_dir():
        models.read(path)
    elif not hugging_face.is_folder_of_model(path):
        raise InputError(f"{path} has no config.json", hint="give a GGUF file or a Hugging Face folder")


def remove_model(*, preset: str, sandbox_name: str) -> None:
    """Simulate a preset's pods again."""
    folder = sandbox_process.folder(sandbox_name)
    name = sandbox_models.named(preset, SHIPPED) or preset
    if name not in sandbox_models.models(folder):
        raise InputError(f"pods of {preset} are simulated already", hint="kaitoctl sandbox model list")
    sandbox_models.set_model(folder, name, None)
    output.success(f"pods of {preset} made from now on are simulated")


def list_models(*, sandbox_name: str, output_format: str) -> None:
    """List the presets whose pods are real."""
    models_of = sorted(sandbox_models.models(sandbox_process.folder(sandbox_name)).items())
    found = [{"name": preset, "model": str(model)} for preset, model in models_of]
    if not found and output_format in ("table", "wide"):
        output.step("pods are simulated; a model answers for those of a preset after")
        output.command(Command("kaitoctl sandbox model set PRESET --from MODEL").line(NO_FLAGS))
        output.note("and of our own preset always (98 MB, on this machine's CPU)")
        making = Command("kaitoctl create workspace NAME --preset smollm2-135m-instruct --sandbox")
        output.command(making.line(NO_FLAGS))
        return
    listing.show(
        "presets", found, ("PRESET", "MODEL"), lambda one: (one["name"], one["model"]), output_format
    )


def load_image(*, file: Path, image: str, sandbox_name: str) -> None:
    """Bring an adapter in under the name of an image."""
    folder = sandbox_process.folder(sandbox_name)
    if fault := grammar.image_fault(image):
        raise InputError(f"--as {fault}")
    count = sandbox_models.load_image(folder, file, image)
    output.success(f"{image} is in sandbox {sandbox_name}: {count} files")


def list_images(*, sandbox_name: str, output_format: str) -> None:
    """List the images that were brought in."""
    found = [{"name": image} for image in sandbox_models.images(sandbox_process.folder(sandbox_name))]
    if not found and output_format in ("table", "wide"):
        output.step("no images; kaitoctl sandbox image load FILE --as IMAGE loads one")
        return
    listing.show("images", found, ("IMAGE",), lambda one: (one["name"],), output_format)
