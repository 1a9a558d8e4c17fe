"""The one typed tree of settings. The docstring under a field is what `rayox config explain` prints of it.

Paths of data are relative to the working directory. Sizes are (height, width) in pixels.
"""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rayox_model.assign.assigner_settings import Assigner
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.augment.augment_settings import Augment
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.train.loss_scale import LossScale
from rayox_platform.config.rules import ConflictError, conflicts
from rayox_platform.config.values import (
    Address,
    Count,
    Fraction,
    ImageSize,
    KeyAddress,
    Labels,
    Reach,
    SecretAddress,
    SecretCommand,
    SecretUrl,
    Size,
    Text,
    Workers,
)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Split(Section):
    annotations: Address | None = None
    """COCO annotation file, relative to the working directory; shapes:train and shapes:val are the embedded data."""
    images: Address | None = None
    """Folder of the annotated images, relative to the working directory; not needed by the embedded data."""


class Data(Section):
    train: Split = Split()
    """The images to train on."""
    val: Split = Split()
    """The images to evaluate on."""
    lanes: Count = 8
    """Streams that feed training; the workers share them, so a run can change its number of workers between steps."""
    max_bad_images: Annotated[float, Ge(0)] = 0.001
    """Broken training images to tolerate: a number if 1 or more, a share of all images if below 1, 0 for none."""
    nodes: Labels | None = None
    """Labels of the nodes that read and augment, as rayox.io/role=data; unset is any node."""


class Model(Section):
    kind: Literal["yolox"] = "yolox"
    """The network: YOLOX is the one there is."""
    size: Literal["nano", "tiny", "s", "m", "l", "x", "darknet53"] = "s"
    """The YOLOX variant."""
    init: Address | None = None
    """Weights to start from: a checkpoint folder or an official .pth; unset starts from random weights."""


class Ema(Section):
    decay: Annotated[float, Ge(0), Lt(1)] = 0.9998
    """Decay of the weights' moving average, which is the model that is evaluated and shipped."""
    ramp_steps: Annotated[float, Gt(0)] | Literal["auto"] = "auto"
    """Steps τ over which the decay ramps up (published: 2000); auto scales it to the run and never exceeds that."""


class Train(Section):
    epochs: Count = 300
    """Passes over the training images."""
    batch_size: Count = 64
    """Images per optimiser step over all workers together; a multiple of data.lanes."""
    workers: Workers = (1, 1)
    """Training processes, or [fewest, most], each with a lane. If they do not divide data.lanes, see loss.divide_by."""
    accumulate: Count = 1
    """Parts that a worker's share of a step is computed in, for memory: the gradient is one, batch norm sees parts."""
    cpus_per_worker: Annotated[float, Gt(0)] | Literal["auto"] = "auto"
    """Processor cores set aside for each training process; auto leaves the loaders enough of the machine."""
    gpus_per_worker: Annotated[float, Gt(0), Le(1)] = 1.0
    """Part of a GPU set aside for each training process, if there are GPUs; 0.25 packs four small models on each."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the forward pass; auto picks what the device is fast at."""
    loss_scale: LossScale = LossScale()
    """The factor that keeps fp16's gradients within its range; other precisions have none."""
    channels_last: bool = True
    """Keep a pixel's channels side by side in memory: 1.3 to 1.5 times the speed on a CPU."""
    compile: bool = False
    """Compile the forward pass with torch.compile: minutes at the start, and a C++ compiler on CPU workers."""
    freeze: Literal["none", "backbone", "backbone_and_neck"] = "none"
    """Parts that keep the weights, and the batch-norm statistics, of model.init."""
    batch_norm: Literal["local", "synchronised", "frozen"] = "local"
    """Statistics of each worker's own images, as published; of all workers' (synchronised); of model.init (frozen)."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum as published, or AdamW for runs of a few thousand steps."""
    learning_rate: Annotated[float, Gt(0)] = 0.01 / 64
    """Peak learning rate per image of the global batch."""
    min_learning_rate_ratio: Fraction = 0.05
    """Share of the peak learning rate that it falls to."""
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    """Weight decay of the convolution weights; batch norm and biases have none."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Momentum of SGD; the first-moment coefficient of AdamW."""
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    """Second-moment coefficient of AdamW; 0.99 follows the gradient within a run of a few hundred steps."""
    clip_grad_norm: Annotated[float, Gt(0)] | None = None
    """Longest gradient (L2 norm over all weights) that a step takes: a longer one is scaled down; unset is off."""
    warmup_epochs: Annotated[float, Ge(0)] = 5.0
    """Epochs over which the learning rate rises quadratically from zero."""
    closing_epochs: Size = 15
    """Last epochs, without mosaic and mixup, with the L1 loss."""
    flat_epochs: Size | Literal["closing"] = "closing"
    """Last epochs at the lowest learning rate; closing: all closing epochs, as published."""
    ema: Ema = Ema()
    """The moving average of the weights."""
    multi_scale: Reach = (5, 5)
    """Times 32 pixels by which a batch's input may be smaller and larger, drawn every 10 steps; 0 keeps the size."""
    evaluate_every: Count = 1
    """Epochs between two evaluations; the last epoch is always evaluated."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of weights, sample order and augmentation."""
    max_failures: Size = 3
    """Failures of workers or machines after which training goes on from the last checkpoint."""
    spares: bool = True
    """Keep a process ready for each worker, so that a restart takes seconds; 0.6 to 0.9 GB of memory each."""
    nodes: Labels | None = None
    """Labels of the nodes that workers run on: key=value, key=!value or key=in(a;b), with commas between."""
    timeout_seconds: Annotated[float, Gt(0)] = 300.0
    """Time without a step after which a worker counts as hung: every worker's stack is kept, and they start again."""
    resize_seconds: Annotated[float, Gt(0)] = 60.0
    """How often an elastic run looks for machines to grow onto; growing starts the workers again."""


class Checkpoint(Section):
    every_steps: Size = 0
    """Steps between two checkpoints within an epoch, beside those at its end; 0 for none."""
    every_minutes: Annotated[float, Ge(0)] = 10.0
    """Minutes after which a checkpoint is written within an epoch, if there was none; 0 for none by time."""
    keep: Count = 2
    """Newest checkpoints that are kept beside the best one."""


class Eval(Section):
    score_threshold: Fraction = 0.01
    """Lowest score of a detection that counts; published figures use 0.001."""
    nms_threshold: Fraction = 0.65
    """Overlap (IoU) above which the lower-scored of two boxes of one class is dropped."""
    batch_size: Count = 8
    """Images detected in one go by each process."""


class Notify(Section):
    """Not kept with a run, as an address may hold a token: a resumed run takes what is given with --resume."""

    url: SecretUrl | None = None
    """Web address that a run's end is posted to as JSON; saved and shown in part only (RAYOX_NOTIFY__URL sets it)."""
    command: SecretCommand | None = None
    """Program, with arguments but without a shell, that is run at a run's end with the same JSON on standard input;
    saved and shown without the arguments."""


class Tracking(Section):
    uri: SecretAddress | None = None
    """MLflow tracking server or database; unset is MLFLOW_TRACKING_URI, or mlflow.db in the state folder (RAYOX_STATE).
    Credentials in it are neither saved nor shown: a resumed run takes them from what is given then."""
    experiment: Text = "rayox"
    """MLflow experiment that runs are filed under; unset is MLFLOW_EXPERIMENT_NAME, or rayox."""
    model: Text = "rayox"
    """Registered model whose next version a finished run's detector becomes; by default the recipe's name."""
    flush_seconds: Annotated[float, Ge(0)] = 60.0
    """Longest wait at a run's end for a tracking server that does not answer; what is left is sent later."""
    step_seconds: Annotated[float, Ge(0)] = 5.0
    """Seconds between two points of the curves by step, at least 1; 0 keeps the curves by epoch alone."""


class Promotion(Section):
    """Who signs a champion, and whose signatures count. A key's password comes from RAYOX_KEY_PASSWORD alone."""

    key: KeyAddress | None = None
    """Private key that signs promotions: PEM of P-256, P-384 or P-521, or pkcs11:…; unset is a demo key, which only
    counts in the embedded store."""
    certificate: Text | None = None
    """Certificate of that key (PEM), those between it and a root behind it; then promotion.trusted_roots decide."""
    trusted_keys: tuple[Text, ...] = ()
    """Public keys (PEM), one of which must have signed a champion; none: the demo key, in the embedded store only."""
    trusted_roots: tuple[Text, ...] = ()
    """Certificates (PEM) of authorities: a champion may be signed with a certificate that one of them vouches for."""


class Config(Section):
    """Everything that decides a run, saved with every checkpoint. Change it by validating again."""

    name: Text = "rayox"
    """Name of the run; by default the recipe's."""
    image_size: ImageSize = (640, 640)
    """Network input: one side for a square or [height, width], multiples of 32."""
    data: Data = Data()
    """What is learned from."""
    model: Model = Model()
    """The network."""
    train: Train = Train()
    """How it is trained."""
    checkpoint: Checkpoint = Checkpoint()
    """What is kept of a run to go on from."""
    augment: Augment = Augment()
    """How strongly training images are changed."""
    assigner: Assigner = Field(default=SimOTA(), discriminator="kind")
    """Which anchor points learn which box."""
    loss: LossWeights = LossWeights()
    """Weights of the loss terms."""
    eval: Eval = Eval()
    """How detections are made for evaluation."""
    tracking: Tracking = Tracking()
    """Where runs are recorded."""
    notify: Notify = Notify()
    """Who is told that a run has finished, failed or was stopped."""
    promotion: Promotion = Promotion()
    """How champions are signed and trusted."""
    storage: Address | None = None
    """Where runs are kept: a folder that every machine has, s3://bucket/prefix or gs://bucket/prefix (then checkpoints,
    events and results lie there, and only the driver's own files in the state folder); unset is the state folder."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = conflicts(self)
        if found:
            raise ConflictError(found)
        return self
