"""Command lines of the verbs that take data and a MODEL, short as can be, on the copy of toy_data in `data`."""

VERBS = ("train", "evaluate", "predict")


def training(*more: object, annotations: object = "data/train.json", images: object = "data/images") -> list[object]:
    """`rayox train`, as far as it goes without Ray."""
    train = [f"data.train.annotations={annotations}", f"data.train.images={images}"]
    val = ["data.val.annotations=data/val.json", "data.val.images=data/images"]
    return ["train", "scratch", *train, *val, "image_size=64", *more, "--dry-run"]


def evaluation(model: object, annotations: object = "data/val.json", images: object = "data/images") -> list[object]:
    split = [f"data.val.annotations={annotations}", f"data.val.images={images}"]
    return ["evaluate", model, *split, "image_size=64"]


def with_data(verb: str, model: object, annotations: object, images: object) -> list[object]:
    if verb == "train":
        return training(annotations=annotations, images=images)
    return evaluation(model, annotations, images)


def with_model(verb: str, model: object) -> list[object]:
    if verb == "train":
        return training(f"model.init={model}")
    return evaluation(model) if verb == "evaluate" else ["predict", model, "data/images", "-o", "out"]
