"""Every kind of finding: its code, how grave it is, what it means and what to do. The codes are stable.

An error would train or evaluate wrongly, or not at all; a warning is only odd.
"""

from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]

FEW_IMAGES = 20
FEW_BOXES = 20
IMBALANCE = 100  # times as many boxes of one class as of another
CROWDED = 120  # boxes an image: training takes no more by default (augment.max_boxes)
TINY_PIXELS = 2.0  # at training size
SMALL_SIDE = 16  # pixels of an image
LONG_SIDE_RATIO = 20
SAME_SIZE_PIXELS = 1.0  # a box may differ from the image so much on each side and still be all of it
PAST_EDGE_PIXELS = 0.5


class Kind(NamedTuple):
    code: str
    severity: Severity
    means: str
    fix: str


KINDS = (
    # the file
    Kind("unreadable-file", "error", "the file is missing, a folder or not readable", "Check the path."),
    Kind("empty-file", "error", "the file holds nothing", "Copy or export it again."),
    Kind("compressed-file", "error", "the file is a gzip, zip or other archive", "Unpack it first."),
    Kind("not-utf8", "error", "the text is UTF-16, UTF-32 or no text at all", "Save it as UTF-8."),
    Kind("byte-order-mark", "warning", "the text begins with a byte order mark", "Save it as UTF-8 without one."),
    Kind("truncated-json", "error", "the JSON ends in the middle", "Copy or export it again."),
    Kind("json-lines", "error", "one JSON value a line (NDJSON), or several in a row", "Export it as one COCO object."),
    Kind("invalid-json", "error", "the text is not JSON", "Mend it at the place named, or export it again."),
    Kind("not-strict-json", "warning", "NaN or Infinity, which are not JSON", "Write numbers or null."),
    Kind("duplicate-key", "error", "a key twice in one object: all but the last are lost", "Merge or rename them."),
    Kind("results-file", "error", "a list of detections, as evaluators take it", "Give the annotations instead."),
    Kind("not-coco", "error", "no object with images, annotations and categories", "Export the data set as COCO."),
    Kind(
        "other-coco-file",
        "error",
        "panoptic segments or captions: no boxes in either",
        "Give instances_*.json instead.",
    ),
    Kind("malformed-section", "error", "images, annotations or categories is not a list", "Make it a list of objects."),
    Kind("malformed-record", "error", "a record is not an object", "Remove it, or write it in braces."),
    Kind("no-images", "error", "no images are listed", "List the images."),
    Kind("no-categories", "error", "no categories are listed", "List every class with an id and a name."),
    # categories
    Kind("invalid-category-id", "error", "a category's id is absent or no whole number", "Number the categories."),
    Kind("duplicate-category-id", "error", "one id for several categories", "Give each category its own id."),
    Kind("invalid-category-name", "error", "a category's name is absent, blank or no text", "Name the category."),
    Kind("duplicate-category-name", "error", "one name for several categories", "Rename or merge the categories."),
    Kind("similar-category-names", "warning", "names differ only in case or spaces", "Merge them if they are one."),
    Kind("padded-category-name", "warning", "spaces around a category's name", "Trim the name."),
    Kind(
        "placeholder-category", "warning", "category 0 is used by nothing", "Remove it, or leave it as one class more."
    ),
    Kind("unused-category", "warning", "categories without annotations: never learned", "Annotate or remove them."),
    # images
    Kind("invalid-image-id", "error", "an image's id is absent or no whole number", "Number the images."),
    Kind("duplicate-image-id", "error", "one id for several images", "Give each image its own id."),
    Kind("invalid-file-name", "error", "file_name is absent, blank or no text", "Name the image's file."),
    Kind("file-name-from-url", "warning", "file_name is absent: that of coco_url is taken", "Name the image's file."),
    Kind("duplicate-file-name", "error", "one file for several images", "Merge the images into one."),
    Kind(
        "path-outside-images", "error", "file_name is absolute or leads out by ..", "Write it relative to the folder."
    ),
    Kind("file-name-url", "error", "file_name is a web address", "Download the images and name the files."),
    Kind("file-name-backslash", "warning", "file_name has backslashes: one name, no folders", "Write / instead."),
    Kind("invalid-image-size", "error", "height or width is not a whole number of pixels", "Correct or remove it."),
    Kind("missing-image-size", "warning", "height or width is absent: the file is asked", "Write the size."),
    Kind("swapped-image-size", "error", "the boxes fit only with height and width swapped", "Swap them."),
    Kind("image-without-annotations", "warning", "images without annotations: trained as empty", "Fine if so meant."),
    # annotations
    Kind("no-annotations", "warning", "no annotations: a test set", "Annotate it before training on it."),
    Kind("invalid-annotation-id", "error", "an annotation's id is absent or no whole number", "Number them."),
    Kind(
        "duplicate-annotation-id",
        "error",
        "one id for several annotations: pycocotools counts one twice, the others never (rayox numbers them anew)",
        "Number them anew.",
    ),
    Kind("zero-annotation-id", "warning", "annotation id 0: a miss for pycocotools (not for rayox)", "Number from 1."),
    Kind("inexact-id", "warning", "an id is text or a float that means a whole number", "Write whole numbers."),
    Kind("negative-id", "warning", "an id is negative", "Number from 1: some tools take it for none."),
    Kind("unknown-image", "error", "image_id names no image", "Add the image, or remove the annotation."),
    Kind("unknown-category", "error", "category_id names no category", "Add the category, or remove the annotation."),
    Kind("malformed-bbox", "error", "bbox is absent or not a list of four numbers", "Write [x, y, width, height]."),
    Kind("non-finite-box", "error", "bbox has NaN, Infinity or beyond 10 million pixels", "Correct or remove it."),
    Kind("box-without-area", "error", "width or height is 0 or negative", "Correct or remove the annotation."),
    Kind("box-outside-image", "error", "a box lies wholly outside its image", "Correct or remove the annotation."),
    Kind("boxes-are-corners", "error", "bbox is [x1, y1, x2, y2]", "Convert to [x, y, width, height]."),
    Kind(
        "boxes-are-centers", "error", "bbox is [center x, center y, width, height]", "Convert to [x, y, width, height]."
    ),
    Kind("boxes-are-fractions", "error", "bbox is in fractions of the image, not pixels", "Convert to pixels."),
    Kind(
        "boxes-leave-images",
        "error",
        "over 20% of the boxes leave their image, and no other form fits them: mixed forms, or images of another size",
        "Find the images that were annotated, or export the boxes again.",
    ),
    Kind("box-past-edge", "warning", "a box leaves its image in part: training clips it", "Clip it."),
    Kind("box-is-whole-image", "warning", "a box covers its whole image", "Look whether an object is that large."),
    Kind("tiny-box", "warning", f"under {TINY_PIXELS:g} px at training size: not learned", "Train larger, or tile."),
    Kind("duplicate-box", "warning", "the same box and class twice in one image", "Remove all but one."),
    Kind("crowded-image", "warning", f"over {CROWDED} boxes in an image", "Raise augment.max_boxes."),
    Kind("missing-area", "warning", "area is absent: width × height is taken", "Write the area."),
    Kind("zero-area", "warning", "area is 0 with a real box: evaluated as small", "Write the area."),
    Kind("invalid-area", "error", "area is not a finite number from 0 on", "Correct it, or leave it out."),
    Kind("area-exceeds-box", "warning", "area is larger than the box", "Write the object's own area."),
    Kind("missing-iscrowd", "warning", "iscrowd is absent: 0 is taken", "Write 0 or 1."),
    Kind("invalid-iscrowd", "error", "iscrowd is not 0 or 1", "Write 0 or 1."),
    Kind("all-crowd", "error", "every annotation is a crowd: nothing is trained", "Set iscrowd 0 on single objects."),
    Kind(
        "crowd-only-class",
        "warning",
        "every annotation of a class is a crowd: it is never learned",
        "Set iscrowd 0 on single objects.",
    ),
    Kind("invalid-segmentation", "warning", "a segmentation no tool reads (rayox needs none)", "Correct or remove it."),
    Kind("few-images", "warning", f"under {FEW_IMAGES} images", "Metrics are noise: collect more."),
    Kind("few-boxes", "warning", f"under {FEW_BOXES} boxes to train on", "Annotate more."),
    Kind(
        "class-imbalance", "warning", f"one class has over {IMBALANCE} times another's boxes", "Collect the rare one."
    ),
    # the images' files
    Kind("no-image-folder", "error", "the folder of images is not there", "Check --images."),
    Kind(
        "missing-image-file",
        "error",
        "file_name names no file in the folder",
        "Write the name of the file that is meant, add the file, or remove the image.",
    ),
    Kind(
        "image-size-differs",
        "error",
        "the file's size is not the annotated one",
        "Find the annotated file, or correct the size.",
    ),
    Kind("unreadable-image", "warning", "a broken file or no image", "Copy it again, or remove the image."),
    Kind("no-readable-image", "error", "not one of the images can be read", "Check the folder and its permissions."),
    Kind("rotated-image", "warning", "annotated as stored, shown turned (EXIF)", "Store it turned: tools differ here."),
    Kind(
        "odd-image",
        "warning",
        f"a side under {SMALL_SIDE} px, or {LONG_SIDE_RATIO} times the other: little is left at training size",
        "Look at it.",
    ),
    Kind("wrong-extension", "warning", "the contents are not what the file's ending says", "Rename it: tools differ."),
    Kind("duplicate-image", "warning", "the same contents in several files", "Keep one, with all its boxes."),
    # against another split
    Kind("leaked-image", "error", "the same image in both splits: AP would be too good", "Remove it from one."),
    Kind("shared-file-name", "warning", "one file_name in both splits, contents not compared", "Compare the images."),
    Kind("classes-differ", "warning", "the splits list different classes", "Use one list of categories in both."),
)

KIND_OF = {kind.code: kind for kind in KINDS}
