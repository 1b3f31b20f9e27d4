"""Published scores beside those of the same evaluation on your own machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack, cast

import adcc_onnx
from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.errors import (
    LayerShapeError,
    ModelError,
    OptionError,
    SourceError,
    UnknownLayerError,
    did_you_mean,
)
from adcc_onnx.evaluation.pipeline import Graceful, never_stopped
from adcc_onnx.evaluation.plan import Plan, make_plan
from adcc_onnx.evaluation.run_options import DeviceOptions, ModelOptions, SourceOptions
from adcc_onnx.evaluation.stored_evaluation import (
    Notify,
    ProgressBar,
    evaluate_and_store,
    no_bar,
    quiet,
)
from adcc_onnx.explanation.targets import LABEL
from adcc_onnx.images.cards import card_beside
from adcc_onnx.images.sources.given_images import Images, describe_source
from adcc_onnx.images.sources.image_source import Label, Source
from adcc_onnx.images.sources.validation_images import count_validation_images, find_ground_truth
from adcc_onnx.model import Model
from adcc_onnx.published.networks import NETWORKS, PublishedNetwork
from adcc_onnx.published.publications import (
    EARLIER_REST,
    ILSVRC_IMAGES,
    PUBLICATIONS,
    WITHOUT_SETTINGS,
    Publication,
)
from adcc_onnx.published.scores import PublishedRow, published_rows
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.runtime.cache_folder import cache_folder
from adcc_onnx.studies.reproduction import (
    Reproduction,
    Setting,
    known_methods,
    published_metrics,
    reproduced_scores,
    settings_of,
    with_setting,
)

# These take hundreds of passes per map, so they are computed on request only.
_EXPENSIVE = ("deletion", "insertion")
_IMAGES_ADVICE = (
    "the ILSVRC2012 validation images are published at image-net.org, after a registration: give "
    "ILSVRC2012_img_val.tar, a folder of its files with the ground truth beside them, or a folder "
    "with one subfolder per synset"
)


@checked_arguments
def reproduce(
    publication: str,
    images: Images,
    networks: str | Sequence[str] = (),
    *,
    model: ModelLike | None = None,
    weights: str | Path = "default",
    methods: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    at: str | None = None,
    scores: str | None = None,
    layer: str | None = None,
    preprocessing: str | Path | None = None,
    labels: str | Path | Sequence[Label] | None = None,
    limit: int | None = None,
    sample: str = "first",
    cache_crops: str | Path | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    graceful: Graceful = never_stopped,
    **device_options: Unpack[DeviceOptions],
) -> list[Reproduction]:
    """Measure published scores with the published settings.

    Protocol, explained class, layer and differentiated score are set as in the publication. A
    published score that lies in the confidence interval of the measured one is reproduced as far as
    the images can tell.

    Args:
        publication: "shapleycam2024", "poppi2021", "reciprocam", "vitcam", "openvino" or "cape".
        images: The images as for `evaluate`, usually the ILSVRC2012 validation images or a part of
            them.
        networks: One or several networks of the publication; all of them if empty.
        model: The network's file, an `onnx.ModelProto`, or a model from `load`, for one network.
            None exports the networks from their frameworks and keeps them in the cache folder.
        weights: "default" or the file of the weights, for one network.
        methods: Published methods; all that adcc-onnx has if empty.
        metrics: Published scores; all but deletion and insertion if empty.
        at: The published layer: "before pooling", "last convolution" or "first activation" (of
            the last residual block); all if None.
        scores: The published differentiated scores, such as "logits"; all if None.
        layer: Name of the layer in the file of `model`; found by its structure if None.
        preprocessing: Preset or card of `model`; its card, or "torch" without one, if None.
        labels: Image labels as for `evaluate`; the ground truth next to the images if None.
        limit: Largest number of images; all images if None.
        sample: Which images are taken under a limit: "first", "random" or "stratified".
        cache_crops: Folder of decoded and cropped images as for `evaluate`.
        seed: Seed of all random numbers.
        out: SQLite file that keeps the runs; they are not kept if None.
        resume: Whether to continue the runs in `out`.
        bar: Function that shows the progress.
        notify: Function that receives messages.
        graceful: Opens the part of the work that can be stopped without loss.
        **device_options: `device`, `precision`, `batch_size` and `cuda_graph` as for `load`.

    Returns:
        One item for each network and setting of the publication. A setting that the file does not
        allow has a `problem` instead of scores.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: There is no such publication, network, method, score or setting.
        ModelError: A network cannot be exported; the message says what to place where.
        SourceError: The images or their labels are missing; the message says what to place where.
        AdccError: The evaluation cannot run.

    Example:
        >>> import adcc_onnx as adcc
        >>> found = adcc.reproduce(
        ...     "shapleycam2024", "ILSVRC2012_img_val", "mobilenetv2", scores="logits"
        ... )  # doctest: +SKIP
        >>> [score.is_inside for score in found[0].scores]  # doctest: +SKIP
        [True, True, True]
    """
    rows = _chosen(
        published_rows(publication, as_list(networks)),
        as_list(methods), as_list(metrics), at, scores,
    )  # fmt: skip
    names = list(dict.fromkeys(row.network for row in rows))
    if (model is not None or str(weights) != "default") and len(names) != 1:
        raise OptionError(f"a model or its weights belong to one network: {', '.join(names)}")
    known = PUBLICATIONS[publication]
    given = SourceOptions(images, labels, None, limit, sample, cache_crops)
    source = _opened(given, seed, known, notify)
    found: list[Reproduction] = []
    for number, name in enumerate(names):
        own = [row for row in rows if row.network == name]
        with _network(NETWORKS[name], model, weights, notify) as file:
            loaded = _loaded(file, preprocessing, device_options, notify)
            prepared, problems = _prepared(loaded, NETWORKS[name], settings_of(own), layer)
            plan = _plan(known, own, seed)
            results = evaluate_and_store(
                list(prepared.values()), source, plan, describe_source(images),
                out=out, resume=resume or (out is not None and number > 0),
                bar=bar, notify=notify, graceful=graceful,
            )  # fmt: skip
        measured = dict(zip(prepared, (one.result for one in results), strict=True))
        found += _reproductions(known, name, own, prepared, measured, problems)
    return found


def _chosen(
    rows: Sequence[PublishedRow],
    methods: Sequence[str],
    metrics: Sequence[str],
    at: str | None,
    scores: str | None,
) -> list[PublishedRow]:
    """Return the rows and values that the user asked for.

    Raises:
        OptionError: Nothing of this kind was published.
    """
    wanted: dict[str, set[str]] = {
        "method": set(methods),
        "layer": set() if at is None else {at},
        "scores": set() if scores is None else {scores},
    }
    for key, values in wanted.items():
        known = dict.fromkeys(getattr(row, key) for row in rows if getattr(row, key))
        for value in values - known.keys():
            raise OptionError(
                f"no {key} '{value}' was published{did_you_mean(str(value), known)} "
                f"({key}: {', '.join(known)})"
            )
        rows = [row for row in rows if not values or getattr(row, key) in values]
    published = published_metrics(rows)
    for metric in set(metrics) - set(published):
        raise OptionError(
            f"no score '{metric}' was published{did_you_mean(metric, published)} "
            f"(scores: {', '.join(published)})"
        )
    kept = set(metrics) or set(published) - set(_EXPENSIVE)
    reduced = [
        replace(row, values={name: v for name, v in row.values.items() if name in kept})
        for row in rows
    ]
    found = [row for row in reduced if row.values]
    if not found:
        raise OptionError("no published scores have all of these properties together")
    return found


def _opened(options: SourceOptions, seed: int, publication: Publication, notify: Notify) -> Source:
    """Open the images, with the ground truth beside them if they have no labels.

    Raises:
        SourceError: There are no images, or no labels where the labels are explained.
    """
    path = Path(options.images) if isinstance(options.images, str | Path) else None
    try:
        source = options.open(seed)
        if options.labels is None and path is not None and not any(_labels(source)):
            beside = find_ground_truth(path)
            if beside is not None:
                notify(f"labels: {beside}")
                source = replace(options, labels=beside).open(seed)
    except SourceError as error:
        raise SourceError(f"{error}; {_IMAGES_ADVICE}") from error
    if publication.target == LABEL and not any(_labels(source)):
        raise SourceError(
            "the explained class is the label, but the images have none: put val.txt, "
            "LOC_val_solution.csv or ILSVRC2012_validation_ground_truth.txt (with meta.mat) into "
            "the folder of the images, or give --labels FILE (docs/reference/sources.md)"
        )
    usual = count_validation_images(source)
    if publication.count == ILSVRC_IMAGES and usual < len(source):
        notify(
            f"{len(source) - usual} of {len(source)} images are not named as validation images of "
            "ILSVRC2012: images of another kind have other scores"
        )
    return source


def _labels(source: Source) -> list[bool]:
    return [label is not None for label in source.labels]


@contextmanager
def _network(
    network: PublishedNetwork, model: ModelLike | None, weights: str | Path, notify: Notify
) -> Iterator[ModelLike]:
    """Provide the model of a network: the given one, or one that is exported.

    Raises:
        OptionError: The network cannot be exported, because its weights were not published.
        ModelError: The export fails; the message says what to place where.
    """
    if model is not None:
        yield model
        return
    if network.export is None:
        raise OptionError(
            f"the weights of {network.name} were {network.weights}: give the ONNX file of your own "
            "training with --model FILE"
        )
    file_name = f"{network.export.replace(':', '_')}.onnx"
    if str(weights) == "default":
        file = cache_folder() / "networks" / file_name
        if not file.is_file():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _export(network, file, weights, notify)
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, file_name)
        _export(network, file, weights, notify)
        yield file


def _export(network: PublishedNetwork, file: Path, weights: str | Path, notify: Notify) -> None:
    assert network.export is not None
    notify(f"exporting {network.export} to {file}")
    try:
        # The last convolution is another layer than its batch normalization.
        adcc_onnx.export(network.export, file, weights, fold=not network.normalized)
    except ModelError as error:
        address = f" ({network.address})" if network.address else ""
        raise ModelError(
            f"{error}; an ONNX file of {network.export} with the weights {network.weights}"
            f"{address} that was exported elsewhere with --no-fold also serves: --model FILE"
        ) from error


def _loaded(
    file: ModelLike, preprocessing: str | Path | None, options: DeviceOptions, notify: Notify
) -> Model:
    if isinstance(file, Model):
        return file
    has_card = isinstance(file, str | Path) and card_beside(Path(file)) is not None
    # All publications use networks of PyTorch.
    steps = preprocessing or (None if has_card else "torch")
    chosen = cast(ModelOptions, {**options, "preprocessing": steps})
    return as_model(file, chosen, notify)


def _prepared(
    model: Model,
    network: PublishedNetwork,
    settings: dict[Setting, list[PublishedRow]],
    layer: str | None,
) -> tuple[dict[Setting, Model], dict[Setting, str]]:
    """Return the model under each setting, and the reasons of settings that it does not allow."""
    models, problems = {}, {}
    for setting, rows in settings.items():
        ours, missing = known_methods(rows)
        if all(row.table in WITHOUT_SETTINGS for row in rows):
            problems[setting] = "the source states neither the layer nor the differentiated score"
            continue
        if setting.scores == EARLIER_REST:
            problems[setting] = "adcc-onnx does not differentiate this earlier version of ReST"
            continue
        if not ours:
            problems[setting] = f"adcc-onnx has none of the methods {', '.join(missing)}"
            continue
        try:
            models[setting] = with_setting(model, network, setting, layer)
        except (UnknownLayerError, LayerShapeError) as error:
            problems[setting] = str(error)
    return models, problems


def _plan(publication: Publication, rows: Sequence[PublishedRow], seed: int) -> Plan:
    methods, _ = known_methods(rows)
    return make_plan(
        methods or ["gradcam"],
        published_metrics(rows),
        publication.target,
        publication.protocol,
        seed,
    )


def _reproductions(
    publication: Publication,
    network: str,
    rows: Sequence[PublishedRow],
    models: dict[Setting, Model],
    results: dict[Setting, EvaluationResult],
    problems: dict[Setting, str],
) -> Iterator[Reproduction]:
    for setting, own in settings_of(rows).items():
        result = results.get(setting)
        yield Reproduction(
            publication.name,
            network,
            setting,
            models[setting].layers[0].name if setting in models else "",
            publication.target,
            0 if result is None else result.scored,
            publication.count,
            None if result is None else result.top1,
            [] if result is None else list(reproduced_scores(own, result)),
            known_methods(own)[1],
            problems.get(setting, ""),
        )
