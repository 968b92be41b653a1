"""Claims about NVIDIA GPUs: they compute what a CPU computes, and the same bits on every run."""

import os

import numpy as np
import pytest
import torch
from retrieval_problems import near_tied_problem, random_problem, tied_problem
from tiny import ENCODERS, METHODS, batch_of, encoder_of, inputs_of, method, plain_gradients, trio_of
from tiny_cell import Steps, equal, make_cell, paths_in

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.arrays import read_manifest
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.topk import nearest
from crossmodal_peft.training import hardware
from crossmodal_peft.training.activation_cache import compute_activations
from crossmodal_peft.training.checkpointing import StateFolder
from crossmodal_peft.training.state import capture_state, restore_run

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts.
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

TRIOS = [("bert", "dinov2", "whisper"), ("roberta", "vit", "ast")]
PROBLEMS = {
    "tied": tied_problem(0),
    "many relevant": random_problem(1, 40, 60, 12),
    "large": random_problem(2, 3000, 4000, 3, 256),
    "near ties": near_tied_problem(),
}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_give_the_output_of_a_cpu(encoder):
    inputs, on_cpu = inputs_of(encoder), encoder_of(encoder, "sdpa")
    expected = on_cpu(*inputs, start="input")
    on_gpu = encoder_of(encoder, "sdpa").cuda()
    found = on_gpu(*(None if part is None else part.cuda() for part in inputs), start="input")
    torch.testing.assert_close(found.cpu(), expected, atol=2e-3, rtol=2e-3)  # Convolutions run in TF32.


@pytest.mark.parametrize("trio", TRIOS)
@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_those_of_a_cpu(name, trio):
    model = trio_of(method(name), trio, "sdpa")
    inputs, labels = batch_of(trio)
    loss, expected = plain_gradients(model, inputs, labels)
    on_gpu, found = plain_gradients(model.cuda(), inputs, labels.cuda())
    assert float(on_gpu) == pytest.approx(float(loss), rel=1e-3)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key].cpu(), gradient, atol=5e-3 * largest, rtol=5e-3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_resumes_from_a_written_state_bit_exactly(name, inputs, tmp_path):
    cell, ends = make_cell(name, activation_cache="off", epochs=3), []
    for until in (12, 7):
        torch.manual_seed(1)
        ends.append(capture_state(Steps(inputs, cell, "cuda").go(until)))
        StateFolder(tmp_path / f"{until}", {}).write(ends[-1])
    torch.manual_seed(2)
    again = Steps(inputs, cell, "cuda")
    restore_run(again.run, StateFolder(tmp_path / "7", {}).read()[0])
    assert equal(capture_state(again.go(12)), ends[0])


@pytest.mark.parametrize("kind", ["fp16", "fp32"])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_cached_activations_are_those_of_a_cpu(modality, kind, inputs, tmp_path):
    layout = Layout.of(paths_in(inputs))
    manifest, arrays = read_manifest(layout.manifest("tiny")), []
    for device in ("cpu", "cuda"):
        encoder = encoder_of({"text": "bert", "image": "dinov2"}[modality], "sdpa").to(device)
        out = tmp_path / f"{device}.npy"
        compute_activations(
            encoder, manifest, layout.activations("tiny", modality, "input"), "last-1", out, kind
        )
        arrays.append(np.load(out).astype(np.float32))
    np.testing.assert_allclose(arrays[1], arrays[0], atol=5e-3)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_ranks_and_nearest_items_are_exactly_those_of_a_cpu(problem):
    queries, gallery, relevance = problem
    expected, best = rank(queries, gallery, relevance), nearest(queries, gallery, 10)
    found, there = (
        rank(queries.cuda(), gallery.cuda(), relevance),
        nearest(queries.cuda(), gallery.cuda(), 10),
    )
    for name in ("scores", "irrelevant_above", "irrelevant_tied"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(there.items, best.items)
    np.testing.assert_array_equal(there.scores, best.scores)


def test_running_out_of_memory_says_what_to_set():
    explained = pytest.raises(RuntimeError, match=r"train.batch_size \d+, train.micro_batch_size .*; set")
    with explained, hardware.explain_out_of_memory(make_cell("full").train):
        torch.empty(2**46, device="cuda")
