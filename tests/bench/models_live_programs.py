"""What the toy model servers of ``models_live`` run: the text of their programs and settings."""

from __future__ import annotations

MOSEC = """
import time
from mosec import Server, ValidationError, Worker


class Toy(Worker):
    def forward(self, data):
        if "x" not in data:
            raise ValidationError("no x")
        if data.get("fail"):
            raise RuntimeError("told to")
        time.sleep(data.get("sleep", 0.005))
        return {"y": 2 * data["x"]}


if __name__ == "__main__":
    server = Server()
    server.append_worker(Toy, num=1)
    server.run()
"""

MLSERVER_TOY = """
import asyncio
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Toy(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0])
        if x.flat[0] < 0:
            raise RuntimeError("told to")
        await asyncio.sleep(float(x.flat[0]))
        output = NumpyCodec.encode_output("y", x)
        return InferenceResponse(model_name=self.name, outputs=[output])
"""

IRIS = """
import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
x, y = load_iris(return_X_y=True)
joblib.dump(LogisticRegression(max_iter=500).fit(x, y), "models/iris/model.joblib")
"""

BENTOML = """
import time
import bentoml


@bentoml.service(traffic={"max_concurrency": 4, "timeout": 5}, workers=1)
class Toy:
    @bentoml.api
    def predict(self, x: float, sleep: float = 0.005, fail: bool = False) -> float:
        time.sleep(sleep)
        if fail:
            raise RuntimeError("told to")
        return 2 * x
"""

RAY = """
import asyncio
import signal
import threading
import ray
from ray import serve
from starlette.responses import JSONResponse


@serve.deployment(max_ongoing_requests=4, ray_actor_options={"num_cpus": 0.1})
class Toy:
    async def __call__(self, request):
        body = await request.json()
        if "x" not in body:
            return JSONResponse({"error": "no x"}, status_code=422)
        if body.get("fail"):
            raise RuntimeError("told to")
        await asyncio.sleep(body.get("sleep", 0.005))
        return {"y": 2 * body["x"]}


ray.init(_node_ip_address="127.0.0.1", num_cpus=2, include_dashboard=False, log_to_driver=False,
         object_store_memory=100 << 20, configure_logging=False, _temp_dir="RAYTMP")
serve.start(http_options={"host": "127.0.0.1", "port": 8100})
serve.run(Toy.bind(), name="toy", route_prefix="/toy")
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
done.wait()
serve.shutdown()
ray.shutdown()
"""

LITSERVE = """
import time
import litserve as ls
from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Histogram, make_asgi_app, multiprocess

registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)


class Prometheus(ls.Logger):
    def __init__(self):
        super().__init__()
        self.duration = Histogram("request_processing_seconds", "Time spent processing request",
                                  ["function_name"], registry=registry)

    def process(self, key, value):
        self.duration.labels(function_name=key).observe(value)


class Toy(ls.LitAPI):
    def setup(self, device):
        self.model = lambda x: 2 * x

    def decode_request(self, request):
        if "x" not in request:
            raise HTTPException(422, "no x")
        return request

    def predict(self, request):
        began = time.monotonic()
        time.sleep(request.get("sleep", 0.005))
        if request.get("fail"):
            raise RuntimeError("told to")
        self.log("predict", time.monotonic() - began)
        return self.model(request["x"])

    def encode_response(self, output):
        return {"y": output}


if __name__ == "__main__":
    logger = Prometheus()
    logger.mount(path="/metrics", app=make_asgi_app(registry=registry))
    server = ls.LitServer(Toy(), loggers=logger, accelerator="cpu")
    server.run(host="127.0.0.1", port=5000, num_api_servers=1, generate_client_file=False)
"""

TORCHSERVE = """
import json
import time


class Toy:
    def initialize(self, context):
        self.initialized = True

    def handle(self, data, context):
        answers = []
        for row in data:
            body = row.get("body") or row.get("data") or {}
            if isinstance(body, (bytes, bytearray)):
                body = json.loads(body)
            if body.get("fail"):
                raise RuntimeError("told to")
            time.sleep(body.get("sleep", 0.005))
            answers.append({"y": 2 * body["x"]})
        return answers


_toy = Toy()


def handle(data, context):
    if data is None:
        return None
    return _toy.handle(data, context)
"""

TORCHSERVE_CONFIG = """
inference_address=http://127.0.0.1:8090
management_address=http://127.0.0.1:8091
metrics_address=http://127.0.0.1:8092
grpc_inference_address=127.0.0.1
grpc_management_address=127.0.0.1
metrics_mode=prometheus
disable_token_authorization=true
enable_model_api=true
default_workers_per_model=1
number_of_netty_threads=2
job_queue_size=10
install_py_dep_per_model=false
enable_envvars_config=false
"""

LITELLM = """
model_list:
  - model_name: toy
    litellm_params: {model: openai/toy, api_key: none, mock_response: "two words"}
  - model_name: broken
    litellm_params:
      {model: openai/broken, api_key: none, api_base: "http://127.0.0.1:9/v1", max_retries: 0}
litellm_settings:
  callbacks: ["prometheus"]
  num_retries: 0
router_settings:
  num_retries: 0
  disable_cooldowns: true
"""

TRITON = """
import time
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def infer(x):
    if (x < 0).any():
        raise RuntimeError("told to")
    time.sleep(float(x.max()))
    return {"y": 2 * x}


config = TritonConfig(http_address="127.0.0.1", http_port=8003, grpc_address="127.0.0.1",
                      grpc_port=8004, metrics_port=8002, allow_metrics=True, log_verbose=0)
with Triton(config=config) as triton:
    shape = (1,)
    triton.bind(model_name="toy", infer_func=infer,
                inputs=[Tensor(name="x", dtype=np.float32, shape=shape)],
                outputs=[Tensor(name="y", dtype=np.float32, shape=shape)],
                config=ModelConfig(max_batch_size=1))
    triton.serve()
"""

LLAMA_HF = """
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

ENDS = ["<unk>", "<s>", "</s>"]
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
words = {text: at for at, text in enumerate([*ENDS, *letters])}
bytes_alone = Tokenizer(models.BPE(vocab=words, merges=[]))
bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bytes_alone.decoder = decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=bytes_alone, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
tokenizer.chat_template = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\\n{% endfor %}")
# Large enough for the engine to be what takes the time, not the server before it.
for name, layers in (("toy", 8), ("other", 9)):
    tokenizer.save_pretrained(name)
    config = LlamaConfig(
        vocab_size=320, hidden_size=256, intermediate_size=1024, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=8, max_position_embeddings=2048,
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=True)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(name)
"""

LLAMA_GGUF = """
import gguf
import numpy as np

WIDTH, INNER, HEADS, CONTEXT = 64, 128, 2, 512
KINDS = gguf.TokenType
words = [("<unk>", KINDS.UNKNOWN), ("<s>", KINDS.CONTROL), ("</s>", KINDS.CONTROL)]
words += [(f"<0x{byte:02X}>", KINDS.BYTE) for byte in range(256)]
words += [("\\u2581", KINDS.NORMAL)]
words += [(chr(letter), KINDS.NORMAL) for letter in range(ord("a"), ord("z") + 1)]
chance = np.random.default_rng(7)


def weights(*shape):
    return chance.normal(0, 0.05, shape).astype(np.float32)


for name, layers in (("toy", 2), ("other", 3)):
    file = gguf.GGUFWriter(f"{name}.gguf", "llama")
    file.add_name(name)
    file.add_file_type(gguf.LlamaFileType.ALL_F32)
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(layers)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_vocab_size(len(words))
    file.add_tokenizer_model("llama")
    file.add_token_list([text for text, _ in words])
    file.add_token_scores([-float(at) for at in range(len(words))])
    file.add_token_types([kind for _, kind in words])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_unk_token_id(0)
    file.add_chat_template(
        "{% for message in messages %}{{ message.role }}: {{ message.content }}\\n{% endfor %}")
    file.add_tensor("token_embd.weight", weights(len(words), WIDTH))
    file.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(layers):
        place = f"blk.{layer}"
        for one in ("attn_norm", "ffn_norm"):
            file.add_tensor(f"{place}.{one}.weight", np.ones(WIDTH, np.float32))
        for one in ("attn_q", "attn_k", "attn_v", "attn_output"):
            file.add_tensor(f"{place}.{one}.weight", weights(WIDTH, WIDTH))
        for one in ("ffn_gate", "ffn_up"):
            file.add_tensor(f"{place}.{one}.weight", weights(INNER, WIDTH))
        file.add_tensor(f"{place}.ffn_down.weight", weights(WIDTH, INNER))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
"""
