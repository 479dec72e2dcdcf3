"""The viewer: pages that ask, one thread that answers.

`Viewer` belongs to the thread that calls its methods. What browsers send is left in its mail by
the server's threads, and done by `attend`, which then makes one picture if one is wanted.
"""

import logging
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from neural_render.core.errors import UserError
from neural_render.viewer.flight import Flight
from neural_render.viewer.page.cameras import PhotoShelf
from neural_render.viewer.page.flights import FlightDrawing, Hangar
from neural_render.viewer.page.listening import Action
from neural_render.viewer.page.progress import ProgressPanel
from neural_render.viewer.page.visit import Page
from neural_render.viewer.pictures.painting import Painter
from neural_render.viewer.pictures.resolution import Costs, Pace
from neural_render.viewer.pictures.visitors import Job
from neural_render.viewer.place import find_place
from neural_render.viewer.requests import Look
from neural_render.viewer.server import announce, foreign_site, open_server
from neural_render.viewer.settings import ViewerSettings
from neural_render.viewer.stage import Report, Stage, Surroundings

if TYPE_CHECKING:
    import viser

PATHS = "paths"  # the folder of camera paths, in the run's
MOST_POINTS = 400  # of the curve of training
WARM = (160, 120)  # pixels of the pictures that are made first, for nobody
LAST_WORDS = 0.2  # seconds that they take to be sent
LONGEST_WAIT = 0.5  # seconds, so that signals are noticed wherever they are delivered

_NO_MORE = "viewer: a page could not be shown its picture, and is shown no more"
_log = logging.getLogger("neural_render")


class Viewer:
    """A scene on a web page, for any number of browsers with a camera each."""

    def __init__(
        self,
        stage: Stage,
        surroundings: Surroundings,
        settings: ViewerSettings,
        *,
        trains: bool = False,
    ) -> None:
        """Opens the page at once. ``trains``: the scene changes, and `told` says how."""
        self.stage, self.surroundings = stage, surroundings
        self.max_side = settings.max_side
        # Training has its share of the time between two pictures.
        self.seconds_per_picture = (settings.share if trains else 1.0) / settings.rate
        self.place = find_place(surroundings.cameras, stage.frame)
        self.shelf = PhotoShelf(surroundings)
        self.hangar = Hangar(
            flight=Flight(),
            run=surroundings.run,
            folder=surroundings.folder / PATHS,
            like=surroundings.cameras,
        )
        self.costs = Costs()
        self.paused = False
        self.trains = trains
        self._mail: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._called = threading.Event()
        self._pages: dict[int, Page] = {}
        self._reports: list[Report] = []
        self._server = open_server(settings, surroundings.title)
        self.flight_drawing = FlightDrawing(self._server.scene, self.place)
        try:
            self._set_up(self._server, settings)
            self._warm_up()
            announce(settings, self.port)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Takes the page from the network."""
        self._server.stop()

    @property
    def port(self) -> int:
        """Where the page is on this machine."""
        return self._server.get_port()

    def post(self, action: Action) -> None:
        """Leaves something to do for the viewer's own thread; called by any thread."""
        self._mail.put(action)
        self._called.set()

    def run(self) -> None:
        """Shows the scene until Ctrl-C or SIGTERM."""
        try:
            with ended_by_signals():
                while True:
                    if not self.attend():
                        self.wait(LONGEST_WAIT)
        except KeyboardInterrupt:
            _log.info("viewer: closed")

    def is_wanted(self, version: int = 0) -> bool:
        """Whether `attend` would do something now: cheap, to be asked between any two steps."""
        if self.paused or not self._mail.empty():
            return True
        now, wanted = time.perf_counter(), False
        for page in list(self._pages.values()):
            with self._guarded(page):
                wanted |= page.helm.flies or page.visitor.next_job(now, version) is not None
        return wanted

    def attend(self, version: int = 0) -> bool:
        """Does what browsers asked for, then makes one picture; whether one was wanted.

        ``version`` is another one whenever the field has changed.
        """
        self._read_mail()
        now = time.perf_counter()
        jobs: list[tuple[float, Page, Job]] = []
        for page in list(self._pages.values()):
            with self._guarded(page):
                page.steer(now)
                if job := page.visitor.next_job(now, version):
                    last = page.visitor.shown[0].at if page.visitor.shown else 0.0
                    jobs.append((last, page, job))
        if not jobs:
            return False
        # Who moves comes first, then who has waited longest.
        _, page, job = min(jobs, key=lambda entry: (entry[2].waits, entry[0]))
        with self._guarded(page):
            page.make(job, version)
        return True

    def wait(self, at_most: float, version: int = 0) -> None:
        """Waits until a browser asks for something, or a picture is due."""
        now = time.perf_counter()
        due = [page.visitor.seconds_until_job(now, version) for page in self._pages.values()]
        if self._called.wait(max(1e-3, min([at_most, *due]))):
            self._called.clear()

    def is_called_from(self, page: Page, job: Job) -> bool:
        """Whether the picture that is being made should be given up for what browsers ask now."""
        self._read_mail()
        now = time.perf_counter()
        for other in list(self._pages.values()):
            with self._guarded(other):
                other.steer(now)
        if page.is_gone or page.visitor.is_outdated(job):
            return True
        others = (p for p in self._pages.values() if p is not page)
        return any(
            (wanted := p.visitor.next_job(now, 0)) is not None and not wanted.waits for p in others
        )

    def told(self, report: Report) -> None:
        """Takes in how training goes."""
        self._reports.append(report)
        if len(self._reports) > MOST_POINTS:  # every other one, and the latest
            self._reports = [*self._reports[:-1:2], report]
        self.show_progress(self._progress())

    def show_progress(self, panels: Iterable[ProgressPanel]) -> None:
        """Shows on some panels how training goes."""
        for panel in panels:
            panel.show_paused(self.paused)
            if self._reports:
                panel.show(self._reports[-1], self._curve())

    def pause(self) -> None:
        """Lets training stand still, or go on."""
        self.paused = not self.paused
        self.show_progress(self._progress())

    def end(self, sentence: str) -> None:
        """Says on every page that training is over."""
        for panel in self._progress():
            panel.end(sentence)
        for page in self._pages.values():
            page.client.flush()
        time.sleep(LAST_WORDS)

    def path_changed(self) -> None:
        """Shows the camera path as it is now, in the scene and on all pages."""
        aspect = max((p.view.width / p.view.height for p in self._pages.values()), default=1.5)
        self.flight_drawing.redraw(self.hangar.flight, aspect)
        for page in self._pages.values():
            for panels in page.panels:
                panels.flights.refresh()
            page.look_changed()

    def flights_changed(self) -> None:
        """Hides the camera path while somebody flies along it."""
        self.flight_drawing.show(not any(page.helm.flies for page in self._pages.values()))
        for page in self._pages.values():
            page.look_changed()

    def _set_up(self, server: "viser.ViserServer", settings: ViewerSettings) -> None:
        """Where visitors begin, and how they come and go."""
        place, names = self.place, settings.names
        server.scene.set_up_direction(place.up)
        camera = server.initial_camera
        camera.position = place.on_page(place.first.position)
        camera.look_at = place.on_page(place.target)
        camera.up, camera.fov = place.up, place.first.fov_rad
        camera.near, camera.far = place.near, place.far

        async def came(client: "viser.ClientHandle") -> None:
            if site := foreign_site(server, client.client_id, names):
                _log.warning(
                    "viewer: a page of another site (%s) tried to look in, and was shown nothing;"
                    " where this is your own way to this computer, add its name to viewer.names",
                    site,
                )
            else:
                self.post(lambda: self._welcome(client))

        async def left(client: "viser.ClientHandle") -> None:
            self.post(lambda: self._forget(client.client_id))

        server.on_client_connect(came)
        server.on_client_disconnect(left)

    def _warm_up(self) -> None:
        """Makes small pictures, so that the first visitor's comes at once and in the right size."""
        view = replace(self.place.first, width=WARM[0], height=WARM[1])
        job = Job(view=view, look=Look(), factor=1.0, final=False, renders=True, waits=False)
        painter, pace = Painter(self.stage, self.place), Pace(1.0, self.costs)
        painter.draw(job, pace, lambda: False)
        began = time.perf_counter()
        painter.draw(job, pace, lambda: False)
        pace.took(WARM[0] * WARM[1], time.perf_counter() - began)

    def _welcome(self, client: "viser.ClientHandle") -> None:
        self._pages[client.client_id] = Page(client, self)

    def _forget(self, client_id: int) -> None:
        page = self._pages.pop(client_id, None)
        if page is not None:
            page.is_gone = True
            self.flights_changed()

    @contextmanager
    def _guarded(self, page: Page) -> Iterator[None]:
        """Inside, what goes wrong ends a page's visit, and neither training nor other visits."""
        try:
            yield
        except Exception as error:
            if isinstance(error, UserError):
                _log.warning("%s: %s", _NO_MORE, error)
            else:
                _log.exception(_NO_MORE)
            page.is_gone = True
            self._pages.pop(page.client.client_id, None)
            self.post(self.flights_changed)

    def _progress(self) -> list[ProgressPanel]:
        """The panels of all pages that say how training goes."""
        pages = self._pages.values()
        return [panel for page in pages for panels in page.panels for panel in panels.progress]

    def _curve(self) -> list[tuple[float, float]]:
        noisy = any(report.psnr != report.psnr for report in self._reports)
        return [(r.seconds, r.loss if noisy else r.psnr) for r in self._reports]

    def _read_mail(self) -> None:
        """Does all that was left to do. What goes wrong in it must not end training."""
        while not self._mail.empty():
            action = self._mail.get()
            try:
                action()
            except Exception:
                _log.exception("viewer: a browser's wish could not be met")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise KeyboardInterrupt, even where they were ignored before.

    Shells let what they start in the background ignore Ctrl-C. Outside the main thread nothing is
    changed, because Python delivers signals only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
