"""KubeRay's RayJob and RayCronJob: a cluster for one training, or for one every night, and the script that runs there.

The script is a file of a ConfigMap and the entrypoint only names it: KubeRay writes the entrypoint into a shell line of
another pod, where everything behind its first command would run, and Ray gives it to a shell on the head once more.
"""

import re
import shlex
from pathlib import PurePosixPath

from rayox_cluster.templates.kuberay import ROLE, cluster_spec, metadata, ray_resource
from rayox_cluster.templates.pods import Manifest, variables
from rayox_cluster.templates.values import Values

JOB, SCRIPT = "/etc/rayox/job", "run.sh"
KEYS, PRIVATE, PUBLIC = "/etc/rayox/promotion", "key.pem", "key.pub"
READABLE = 0o440  # by the pod's group
CLUSTER = "KUBERAY_CLUSTER"  # the RayCluster's name: that of the RayJob with letters of its own behind the last dash

BEGIN = """\
# The run is called after the RayJob, whose name stays when KubeRay tries it again on another RayCluster.
run=@PREFIX-${@CLUSTER%-*}
trap : TERM # a stopped training has the time to save a checkpoint
train=(
@WORDS
)
about() { # what is stored of the run; empty if it does not exist
  rayox runs show "$run" --json 2>/dev/null |
    python -c "import json, sys; run = json.load(sys.stdin); print($1)" 2>/dev/null
}
"""
TRAIN = """\
if [ "$(about 'bool(run["result"])')" != True ]; then # no earlier try has finished it
  if [ "$(about 'bool(run["checkpoint"])')" = True ]; then
    "${train[@]}" --resume "$run"
  else
    "${train[@]}" --name "$run"
  fi
fi || exit
"""
PROMOTE = """\
rayox promote "runs:/$(about 'run["result"]["run_id"]')" --to @NAME
code=$?
if [ $code = 7 ]; then exit 0; fi # the gate refuses: another try would not change that
exit $code
"""


def ray_job(values: Values) -> list[Manifest]:
    """A cluster for one training, gone after it."""
    name = f"{values.name}-job"
    job = ray_resource("RayJob", values, _job_spec(values, name))
    if values.queue:
        _queue(values, job)
    return [_script(values, name, _beginning(values) + TRAIN), job]


def ray_cron_job(values: Values) -> list[Manifest]:
    """Every night: train anew, and promote what the gate finds better than the model in use."""
    promote = PROMOTE.replace("@NAME", shlex.quote(values.promote_to))
    name = f"{values.name}-nightly"
    job = _job_spec(values, name)
    _give_keys(values, job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"])
    spec = {"schedule": values.schedule, "timeZone": "Etc/UTC", "jobTemplate": job}
    return [_script(values, name, _beginning(values) + TRAIN + promote), ray_resource("RayCronJob", values, spec)]


def _queue(values: Values, job: Manifest) -> None:
    """Kueue admits the cluster as a whole, so it is as large as it begins."""
    labels = {"kueue.x-k8s.io/queue-name": values.queue}
    job["metadata"]["labels"] = labels | ({"kueue.x-k8s.io/priority-class": values.priority} if values.priority else {})
    cluster = job["spec"]["rayClusterSpec"]
    del cluster["autoscalerOptions"]
    cluster["enableInTreeAutoscaling"] = False
    cluster["workerGroupSpecs"] = [group for group in cluster["workerGroupSpecs"] if group["replicas"]]
    for group in cluster["workerGroupSpecs"]:
        group["maxReplicas"] = group["replicas"]


def _beginning(values: Values) -> str:
    settings = {
        "model.init": values.weights,
        "data.train.annotations": values.annotations,
        "data.train.images": values.images,
        "data.val.annotations": values.val_annotations,
        "data.val.images": values.val_images,
        "train.workers": str(values.num_workers),
        "train.nodes": f"{ROLE}=train",
        "data.nodes": f"{ROLE}=data",
    }
    words = [f"{key}={value}" for key, value in settings.items() if value]
    lines = [shlex.join(["rayox", "train", values.recipe, "--address", "auto"]), *map(shlex.quote, words)]
    prefix = re.sub(r"[^A-Za-z0-9_.]+", "-", PurePosixPath(values.recipe).stem).strip("-.") or "run"
    text = BEGIN.replace("@PREFIX", prefix).replace("@CLUSTER", CLUSTER)
    return text.replace("@WORDS", "\n".join(f"  {line}" for line in lines))


def _job_spec(values: Values, script: str) -> Manifest:
    cluster = cluster_spec(values)
    _give_script(script, cluster["headGroupSpec"]["template"]["spec"])
    return {
        "entrypoint": f"bash {JOB}/{SCRIPT}",
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "backoffLimit": 2,
        "rayClusterSpec": cluster,
    }


def _script(values: Values, name: str, text: str) -> Manifest:
    about = metadata(values) | {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {SCRIPT: text}}


def _give_script(name: str, pod: Manifest) -> None:
    """The head runs a job's entrypoint: it alone gets the script."""
    [head] = pod["containers"]
    field = {"fieldRef": {"fieldPath": "metadata.labels['ray.io/cluster']"}}
    head["env"].append({"name": CLUSTER, "valueFrom": field})
    head["volumeMounts"].append({"name": "job", "mountPath": JOB, "readOnly": True})
    pod["volumes"].append({"name": "job", "configMap": {"name": name}})


def _give_keys(values: Values, pod: Manifest) -> None:
    """The key that signs a champion, and its public half: on the head alone, where the promotion runs."""
    [head] = pod["containers"]
    head["env"] += variables(
        RAYOX_PROMOTION__KEY=f"{KEYS}/{PRIVATE}", RAYOX_PROMOTION__TRUSTED_KEYS=f"[{KEYS}/{PUBLIC}]"
    )
    head["volumeMounts"].append({"name": "promotion", "mountPath": KEYS, "readOnly": True})
    secret = {"secretName": values.beside("promotion"), "defaultMode": READABLE}
    pod["volumes"].append({"name": "promotion", "secret": secret})
