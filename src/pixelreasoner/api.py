"""The Python interface: load a model, ask it about pictures or a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, overload

from pixelreasoner.chat.prompting import task_messages, trajectory_messages
from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.config import Config
from pixelreasoner.core.display import counted
from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.core.media import Media
from pixelreasoner.core.media_inputs import Source, media_of
from pixelreasoner.core.messages import Message
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.events import OnEvent
from pixelreasoner.env.interaction import Interaction, toolbox_of
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout, unasked
from pixelreasoner.models.checkpoints import marked_world
from pixelreasoner.models.config import Dtype, ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.ops.build import OperationConfig
from pixelreasoner.ops.operation import Operation
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy

C = TypeVar("C", bound=Config)
GREEDY = Interaction(sampling=Sampling(temperature=0.0))


class AskConfig(Config):
    """Which model answers, and how it is interacted with."""

    model: ModelConfig = ModelConfig()
    interaction: Interaction = GREEDY


class AskOptions(TypedDict, total=False):
    """Options of `Reasoner.ask` and `Reasoner.chat`; None keeps what the interaction says."""

    operations: Sequence[str | OperationConfig | Operation] | None
    """Those to offer, in order: names of the interaction's or registered ones, or operations of your own."""
    max_operations: int | None
    """The most visual operations to carry out; 0 offers none."""
    max_tokens: int | None
    """The most new tokens per message."""
    temperature: float | None
    """0 takes the likeliest token each time."""
    system: str | None
    """The system message; "" for none. Operations are added to it."""


def load(
    checkpoint: str | Path = "nano",
    *,
    chat_format: str | Path | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    interaction: Interaction = GREEDY,
) -> Reasoner:
    """Load a checkpoint: the name of a shipped one, a Hugging Face folder, or a hub id.

    Args:
        checkpoint: which one.
        chat_format: what is spoken with a checkpoint that has none of its own: a file, or the name of a
            shipped one ("pixelreasoner-v1" for the released checkpoints of the paper).
        device: a torch device; "auto" takes CUDA where there is one.
        dtype: of the weights; "auto" is fp32 on a CPU and bf16 on an accelerator.
        interaction: the operations offered, limits, sampling and wording.

    Raises:
        CheckpointError: there is none, or its architecture is not supported.
        ConfigError: there is no such device or dtype, an operation cannot be used, or an option is out of
            range.
    """
    spoken = None if chat_format is None else str(chat_format)
    model = _changed(
        ModelConfig(), checkpoint=str(checkpoint), chat_format=spoken, device=device, dtype=dtype
    )
    return load_config(AskConfig(model=model, interaction=interaction))


def load_config(config: AskConfig) -> Reasoner:
    """What a recipe describes; raises as `load` does."""
    model = load_model(config.model, training=False)
    config.interaction.check_lengths(model.renderer.max_tokens)
    model.use_wording(config.interaction.wording)
    features = FeatureStore(model, max_bytes=config.model.feature_bytes)
    policy = GroupPolicy(
        model,
        features=features,
        precision=config.model.precision,
        kv_cache_bytes=config.model.kv_cache_bytes,
    )
    return Reasoner(model, config.interaction, policy)


class Reasoner:
    """A model that answers questions, looking closer where it decides to."""

    def __init__(
        self,
        model: VisionLanguageModel,
        interaction: Interaction = GREEDY,
        policy: GroupPolicy | None = None,
    ) -> None:
        """A reasoner; `policy` samples from `model`, None takes one with its defaults."""
        self.model, self.interaction = model, interaction
        self.policy = policy or GroupPolicy(model)
        self._toolbox = interaction.toolbox(model.renderer.vision.unit, model.renderer.chat_format)

    @property
    def world(self) -> str | None:
        """The synthetic world whose questions are all that it was taught; None where no mark says so."""
        return None if self.model.source is None else marked_world(self.model.source)

    @overload
    def ask(
        self,
        media: Source | Sequence[Source],
        question: str,
        *,
        seed: int = 0,
        on_event: OnEvent | None = None,
        **options: Unpack[AskOptions],
    ) -> Trajectory: ...

    @overload
    def ask(
        self,
        media: Source | Sequence[Source],
        question: list[str] | tuple[str, ...],
        *,
        seed: int = 0,
        on_event: OnEvent | None = None,
        **options: Unpack[AskOptions],
    ) -> list[Trajectory]: ...

    def ask(
        self,
        media: Source | Sequence[Source],
        question: str | list[str] | tuple[str, ...],
        *,
        operations: Sequence[str | OperationConfig | Operation] | None = None,
        max_operations: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        system: str | None = None,
        seed: int = 0,
        on_event: OnEvent | None = None,
    ) -> Trajectory | list[Trajectory]:
        """Answer a question about images or a video, or several, each on its own and all at the same time.

        Args:
            media: paths, bytes of image files, open files, Pillow images, arrays, pictures or a video, in the
                order the question speaks of them.
            question: in plain words; the chat format's guideline is added. A list gives a list.
            operations: those to offer; see `AskOptions`, also for the next four.
            max_operations: the most visual operations to carry out; 0 offers none.
            max_tokens: the most new tokens per message.
            temperature: 0 takes the likeliest token each time.
            system: the system message.
            seed: of the random numbers when the temperature is above 0; question i of a list has seed + i.
            on_event: called with what happens as it happens (`env.events`); `event.request` is the question's
                place in the list.

        Raises:
            MediaError: what is given is no picture or video, cannot be read, or holds more than one video.
            ConfigError: an option is out of range, or there is no such operation.
            PixelReasonerError: a question is not text, or longer than what the model can read.
        """
        settings = self._settings(operations, max_operations, max_tokens, temperature, system)
        items = media_of(media)
        questions = [question] if isinstance(question, str) else list(question)
        tasks = [Task("question", _text(q), items, ()) for q in questions]
        requests = [RolloutRequest(task, seed + i) for i, task in enumerate(tasks)]
        trajectories = settings.run(requests, on_event)
        return trajectories[0] if isinstance(question, str) else trajectories

    def chat(
        self,
        media: Source | Sequence[Source] = (),
        *,
        operations: Sequence[str | OperationConfig | Operation] | None = None,
        max_operations: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        system: str | None = None,
    ) -> Chat:
        """Open a conversation of several questions about the same media.

        Arguments are those of `ask`; `max_operations` counts for each question.

        Raises:
            MediaError, ConfigError: as `ask`.
        """
        settings = self._settings(operations, max_operations, max_tokens, temperature, system)
        return Chat(settings, media_of(media))

    def __repr__(self) -> str:
        model = self.model
        name = "in memory" if model.source is None else model.source.name
        offered = "none" if self._toolbox is None else ", ".join(self._toolbox.names)
        weights = sum(p.numel() for p in model.parameters())
        place = f"{str(model.dtype).removeprefix('torch.')} on {model.device}"
        return f"Reasoner({name}, {weights / 1e6:.1f}M weights, {place}, operations: {offered})"

    def _settings(
        self,
        operations: Sequence[str | OperationConfig | Operation] | None,
        max_operations: int | None,
        max_tokens: int | None,
        temperature: float | None,
        system: str | None,
    ) -> Settings:
        renderer = self.model.renderer
        if system is not None:
            renderer = renderer.with_format(_changed(renderer.chat_format, system=system))
        limits = _changed(self.interaction.limits, max_operations=max_operations)
        toolbox = self._toolbox if operations is None else self._chosen(operations)
        return Settings(
            policy=self.policy,
            renderer=renderer,
            toolbox=toolbox if limits.max_operations else None,
            sampling=_changed(self.interaction.sampling, temperature=temperature, max_tokens=max_tokens),
            limits=limits,
        )

    def _chosen(self, operations: Sequence[str | OperationConfig | Operation]) -> Toolbox | None:
        """The operations of one call: a name that is offered already keeps its options."""
        if not isinstance(operations, list | tuple):
            raise ConfigError(
                f"operations is a list, as [{operations!r}]; got one {type(operations).__name__}"
            )
        offered = {} if self._toolbox is None else {o.name: o for o in self._toolbox.operations}
        chosen = [offered.get(o, OperationConfig(use=o)) if isinstance(o, str) else o for o in operations]
        renderer = self.model.renderer
        return toolbox_of(chosen, renderer.vision.unit, renderer.chat_format)


@dataclass(frozen=True)
class Settings:
    """What the rollouts of one call or one conversation share."""

    policy: GroupPolicy
    renderer: Renderer
    toolbox: Toolbox | None
    sampling: Sampling
    limits: Limits

    def run(self, requests: Sequence[RolloutRequest], on_event: OnEvent | None) -> list[Trajectory]:
        """One trajectory per request.

        Raises:
            PixelReasonerError: a question, with all that comes before it, is longer than the model can read.
        """
        trajectories = rollout(
            requests,
            policy=self.policy,
            renderer=self.renderer,
            toolbox=self.toolbox,
            sampling=self.sampling,
            limits=self.limits,
            on_event=on_event,
        )
        for trajectory in trajectories:
            if (problem := unasked(trajectory, self.renderer, self.limits)) is not None:
                raise PixelReasonerError(problem)
        return trajectories


class Chat:
    """A conversation: each question is asked after all that was said and shown before it.

    What was said is read again as one prompt with each question. An operation sees all images so far, under
    the numbers they had.
    """

    def __init__(self, settings: Settings, media: tuple[Media, ...]) -> None:
        """A conversation; `media` are shown with the first question."""
        self._settings = settings
        self._pending = media
        self._messages: tuple[Message, ...] = ()
        self._trajectories: list[Trajectory] = []

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """One for each question, in order. The media of its task are all that were shown so far."""
        return tuple(self._trajectories)

    def ask(
        self,
        question: str,
        media: Source | Sequence[Source] = (),
        *,
        seed: int = 0,
        on_event: OnEvent | None = None,
    ) -> Trajectory:
        """Ask the next question; more media may be shown with it.

        Raises:
            MediaError, PixelReasonerError: as `Reasoner.ask`; the conversation stays as it was.
        """
        new = (*self._pending, *media_of(media))
        tools = self._settings.toolbox is not None
        asked = Task("question", _text(question), new, ())
        opening = task_messages(asked, self._settings.renderer.chat_format, tools=tools)
        messages = (*self._messages, opening[-1]) if self._messages else opening
        shown = tuple(part for message in messages for part in message.parts if not isinstance(part, str))
        task = Task("question", question, shown, ())
        [trajectory] = self._settings.run([RolloutRequest(task, seed, messages)], on_event)
        self._messages = (*messages, *trajectory_messages(trajectory))
        self._pending = ()
        self._trajectories.append(trajectory)
        return trajectory

    def __repr__(self) -> str:
        shown = counted(sum(not isinstance(p, str) for m in self._messages for p in m.parts), "media item")
        return f"Chat({counted(len(self._trajectories), 'question')}, {shown})"


def _text(question: object) -> str:
    if isinstance(question, str):
        return question
    raise PixelReasonerError(
        f"a question is text, and this one is {type(question).__name__}: {question!r:.60}"
    )


def _changed(config: C, **given: Any) -> C:
    """A configuration with the values that are not None in the place of its own.

    Raises:
        ConfigError: one of them is out of range.
    """
    return config.changed(**{name: value for name, value in given.items() if value is not None})
