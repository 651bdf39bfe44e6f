"""The client of Label Studio's API, against a server that answers as the real one was seen to."""

import datetime
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgral.annotation import label_studio_server as studio
from mgral.annotation.label_studio_server import Addressed, Batch, Served, Server, Uploaded, project, sending, server
from mgral.annotation.label_studio_server.pictures import for_browsers
from mgral.annotation.preannotations.label_studio import label_config
from mgral.data.dataset import Dataset, ImageInfo
from mgral.errors import ConfigError, StateError
from mgral.pool.inspection import Detections
from tests.fake_label_studio import LEGACY, PERSONAL, bad, good, running
from tests.small_data import save_image

NAMES = ("cam 1/ä & #1.jpg", *(f"cam 1/{number}.jpg" for number in range(8)), "cam 2/b.png")


@pytest.fixture
def fake():
    with running() as started:
        yield started


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    for name in NAMES:
        save_image(tmp_path / "photos" / name)
    return Dataset(tmp_path / "photos", ("ant", "bee"), (1, 2),
                   {name: ImageInfo(name, name, 40, 30) for name in NAMES}, {})


@pytest.fixture
def batch(dataset) -> Batch:
    found = Detections(np.array([[4, 3, 14, 18]], np.float32), np.array([0.9], np.float32), np.array([1]))
    return Batch(dataset, NAMES, dict.fromkeys(NAMES, found), {"study": "s", "cycle": 1})


def sent(fake, batch, pictures=None, token=LEGACY):
    with Server(fake.url, token) as asked:
        there = studio.find(asked, "s cycle 1", "mark") or studio.create(
            asked, "s cycle 1", label_config(batch.dataset.classes), "mark")
        return studio.send(there, batch, pictures or Uploaded())


def paths(fake) -> list[str]:
    return [task["data"]["path"] for task in fake.tasks.values()]


@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_a_batch_is_sent_once_with_its_boxes(fake, batch, token):
    done = sent(fake, batch, token=token)
    assert (done.before, done.new, done.finished) == (0, len(NAMES), 0)
    assert paths(fake) == list(NAMES)
    first = fake.tasks[1]
    assert first["data"]["rank"] == 1
    region, = first["predictions"][0]["result"]
    assert region["value"] == {"x": 10, "y": 10, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["bee"]}
    project_, = fake.projects.values()
    assert project_["label_config"] == label_config(("ant", "bee"))
    fake.annotate(NAMES[1])
    fake.annotate(NAMES[2], was_cancelled=True)
    again = sent(fake, batch, token=token)
    assert (again.before, again.new, again.finished, again.skipped) == (len(NAMES), 0, 1, 1)
    assert (len(fake.tasks), len(fake.projects), len(fake.uploads)) == (10, 1, 10)


def test_uploaded_pictures_are_the_files_and_are_named_by_their_tasks(fake, batch):
    sent(fake, batch)
    for task, name in zip(fake.tasks.values(), NAMES, strict=True):
        upload = next(entry for entry in fake.uploads.values() if task["data"]["image"] == f"/data/{entry['file']}")
        assert bytes.fromhex(upload["content"]) == (batch.dataset.root / name).read_bytes()


def test_a_push_that_was_cut_off_goes_on(fake, batch, monkeypatch):
    monkeypatch.setattr(sending, "TOGETHER", 4)
    fake.wrong["POST /api/projects/1/import"] = [None] * 9 + [bad(500, "database is locked")]
    with pytest.raises(StateError, match=r"got 500 \(database is locked\); look into the server's log and try again"):
        sent(fake, batch)
    assert len(fake.tasks) == 4
    done = sent(fake, batch)
    assert (done.before, done.new) == (4, 6)
    assert sorted(paths(fake)) == sorted(NAMES)
    assert [task["data"]["rank"] for task in fake.tasks.values()] == list(range(1, 11))


def test_of_tasks_that_came_twice_the_begun_one_stays(fake, batch, heard):
    sent(fake, batch)
    for number, name in ((21, NAMES[0]), (22, NAMES[1]), (23, NAMES[2]), (24, NAMES[3])):
        fake.tasks[number] = {"id": number, "project": 1, "annotations": [], "drafts": [], "data": {"path": name}}
    fake.tasks[22]["drafts"] = [{"result": []}]
    fake.annotate(NAMES[2])
    fake.annotate(NAMES[3])
    fake.tasks[24]["annotations"] = [{"result": [], "was_cancelled": True}]
    done = sent(fake, batch)
    assert set(fake.tasks) == {1, 3, 4, 5, 6, 7, 8, 9, 10} | {22, 24}
    assert done.finished == 2
    assert any(f"'{NAMES[3]}' has 2 tasks that were begun; delete all but one" in note for note in heard.notes)


def test_a_project_of_other_images_is_left_alone(fake, batch):
    sent(fake, batch)
    for task in fake.tasks.values():
        task["data"]["path"] = "other/" + task["data"]["path"]
    with pytest.raises(StateError, match=r"projects/1: expected the tasks of this batch, got 10 of other images"):
        sent(fake, batch)
    assert len(fake.tasks) == 10


def test_a_server_that_did_not_take_all_is_told(fake, batch):
    fake.wrong["POST /api/projects/1/import"] = [None] * 10 + [good({"import": 7}, 201)]  # as one that imports later
    with pytest.raises(StateError, match="expected 10 tasks, got 0; push again: only what is missing is sent"):
        sent(fake, batch)


def test_tasks_go_in_portions_that_proxies_take(fake, batch, monkeypatch):
    monkeypatch.setattr(project, "PORTION", 1500)
    fake.pictures = {f"/set/{NAMES[0]}"}
    sent(fake, batch, Addressed(f"{fake.url}/set"))
    sizes = [int(headers["Content-Length"]) for _, path, headers in fake.asked if path.endswith("/import")]
    assert len(sizes) == 4
    assert max(sizes) <= 1500 + len("[,,]")
    assert paths(fake) == list(NAMES)


def test_an_access_token_that_has_ended_is_renewed(fake, batch):
    fake.answers_until_access_ends = 3
    sent(fake, batch, token=PERSONAL)
    assert fake.refreshed > 5
    assert paths(fake) == list(NAMES)


def test_before_it_is_known_for_a_label_studio_no_server_sees_the_token(fake):
    fake.wrong["GET /api/version"] = [good({"name": "another program"})]
    with pytest.raises(StateError, match="expected the version of a Label Studio, got .*another program.* give the "):
        Server(fake.url, LEGACY).__enter__()
    assert [headers.get("Authorization") for _, _, headers in fake.asked] == [None]


def test_redirects_are_not_followed(fake):
    with running() as other:
        fake.wrong["GET /api/projects/7/"] = [(302, {"Location": f"{other.url}/api/projects/7/"}, b"")]
        with Server(fake.url, LEGACY) as asked, pytest.raises(StateError, match="got a redirect to 'http.*; give the "):
            studio.open_project(asked, 7)
        assert other.asked == []


SAID = {
    "legacy off": (bad(401, "Authentication token no longer valid: legacy token authentication has been disabled for "
                       "this organization"), r"401 \(Authentication token no.*which this server does not take: make "
                   r"one in Label Studio \(the menu of your account, Account & Settings, Personal Access Token\)"),
    "unknown token": (bad(401, "Invalid token."), "holds a legacy token that is of no user here: copy it again"),
    "403": (bad(403, "You do not have permission to perform this action."),
            r"403 \(You do not have permission .*have the token's user made a member who may"),
    "404": (bad(404, "No Project"), r"got 404 \(No Project\); correct the address, or look whether somebody deleted"),
    "413": ((413, {"Content-Type": "text/html"}, b"<html>too large</html>"), "got 413; let the server or the proxy"),
    "429": (bad(429, "Slow down"), "got 429 .*; wait, then try again: the same command goes on"),
    "502": ((502, {}, b"<html>Bad gateway</html>"), "got 502; look into the server's log and try again"),
    "400": (bad(400, "Validation error", {"label_config": ["unclosed token: line 1"], "non_field_errors": ["b"]}),
            r"got 400 \(label_config: unclosed token: line 1 b\); correct what it names"),
    "no JSON": ((200, {"Content-Type": "text/html"}, b"<html>Welcome</html>"),
                r"as JSON, got something else \(text/html\) from /api/projects/1/export; give the address"),
    "no tasks": (good({"tasks": 3}), "expected the project's export, got no list of tasks; export it by hand"),
    "the token back": (bad(500, f"Authorization: Token {LEGACY}"), r"Authorization: Token …\)"),
}


@pytest.mark.parametrize("kind", SAID)
def test_what_a_server_refuses_is_one_line_that_says_what_to_do(fake, kind):
    answer, words = SAID[kind]
    fake.wrong["GET /api/projects/1/export"] = [answer]
    with Server(fake.url, LEGACY) as asked, pytest.raises(StateError, match=words) as caught:
        studio.Project(asked, 1).export()
    line, = caught.value.problems
    assert LEGACY not in line
    assert "\n" not in line


@pytest.mark.parametrize("token", ["a.b.c-secret", "eyJoZWFk.secret"])
def test_a_personal_token_that_is_not_taken(fake, token):
    with pytest.raises(StateError, match=r"401 \(Token is invalid\); LABEL_STUDIO_API_KEY holds a personal") as caught:
        Server(fake.url, token).__enter__()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_a_page_of_label_studio_is_not_its_address(fake, token):
    with pytest.raises(StateError, match="give the address of Label Studio's own first page"):
        Server(f"{fake.url}/projects/1/data", token).__enter__()


def test_no_server_no_answer_no_tls(fake, monkeypatch):
    with running() as gone:
        address = gone.url
    with pytest.raises(StateError, match=r"expected Label Studio, got no answer \('.*refused'\); start it"):
        Server(address, LEGACY).__enter__()
    with pytest.raises(StateError, match=r"got no TLS \(.*\); correct the address: http:// or https://"):
        Server(fake.url.replace("http:", "https:"), LEGACY).__enter__()
    monkeypatch.setattr(server, "ANSWER", 0.05)
    release = threading.Event()
    monkeypatch.setattr(type(fake), "answer", lambda *_: good(release.wait(5)))
    with pytest.raises(StateError, match="got none within 0 seconds; try again: the same command goes on"):
        Server(fake.url, LEGACY).__enter__()
    release.set()


def test_a_certificate_that_nobody_vouches_for(tmp_path):
    with https(tmp_path) as url, pytest.raises(StateError, match="a certificate that is not trusted .*SSL_CERT_FILE"):
        Server(url, LEGACY).__enter__()


@contextmanager
def https(folder: Path) -> Iterator[str]:
    """The address of a web server with a certificate of its own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate(folder / "own.pem"))
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as made:
        made.socket = context.wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
        made.handle_error = lambda *_: None
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def own_certificate(path: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                     + made.public_bytes(pem))
    return path


@pytest.mark.parametrize(("given", "kept"), [
    ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"), ("https://a.example/label-studio//", "https://a.example/label"
                                                          "-studio"), (" http://[::1]:80 ", "http://[::1]:80")])
def test_addresses(given, kept):
    assert studio.address_of(given) == kept


@pytest.mark.parametrize("given", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a:99999", "http://a\nb",
                                   "http:/a", "http://[::1"])
def test_what_is_no_address(given):
    with pytest.raises(ConfigError, match="--label-studio: expected the address of Label Studio, such as http"):
        studio.address_of(given)


@pytest.mark.parametrize("given", ["http://me:secret@a.example", "http://a.example/?token=secret", "http://a/#secret",
                                   "ftp://me:secret@a.example"])
def test_no_secret_of_an_address_is_kept_or_shown(given):
    with pytest.raises(ConfigError) as caught:
        studio.address_of(given)
    assert "secret" not in str(caught.value)


def test_the_token_comes_from_the_environment():
    assert studio.token_from({"LABEL_STUDIO_API_KEY": f" {LEGACY}\n"}) == LEGACY
    with pytest.raises(ConfigError, match="in this environment variable, got none; make one in Label Studio"):
        studio.token_from({})
    with pytest.raises(ConfigError, match="got blanks or other signs in it") as caught:
        studio.token_from({"LABEL_STUDIO_API_KEY": "Token sécret"})
    assert "sécret" not in str(caught.value)


def test_titles_are_as_long_as_label_studio_takes(fake):
    with Server(fake.url, LEGACY) as asked:
        made = studio.create(asked, "a study of a very long name indeed, balanced_entropy cycle 1", "<View/>", "m")
        assert len(fake.projects[made.number]["title"]) <= 50
        assert fake.projects[made.number]["title"].endswith("balanced_entropy cycle 1")
        found = studio.find(asked, "a study of a very long name indeed, balanced_entropy cycle 1", "m")
        assert found.number == made.number
        assert studio.find(asked, "a study of a very long name indeed, balanced_entropy cycle 1", "n") is None


class TestPictures:
    def test_on_a_web_server(self, fake, batch):
        fake.pictures = {f"/set/{NAMES[0]}"}
        sent(fake, batch, Addressed(f"{fake.url}/set/"))
        assert fake.tasks[1]["data"]["image"] == f"{fake.url}/set/cam%201/%C3%A4%20%26%20%231.jpg"
        asked = [headers for _, path, headers in fake.asked if path.startswith("/set/")]
        assert [headers.get("Authorization") for headers in asked] == [None]

    def test_that_browsers_would_keep_back(self, fake, batch):
        with running() as pictures:
            pictures.pictures, pictures.headers_of_pictures = {f"/set/{NAMES[0]}"}, {}
            with pytest.raises(StateError, match="got no header Access-Control-Allow-Origin, without which browsers"):
                sent(fake, batch, Addressed(f"{pictures.url}/set"))
            with pytest.raises(StateError, match=r"expected a picture, got 404; correct --images-url"):
                sent(fake, batch, Addressed(f"{pictures.url}/elsewhere"))
        assert fake.tasks == {}

    def test_that_are_not_seen_from_here(self, fake, batch, heard):
        with running() as gone:
            address = gone.url
        sent(fake, batch, Addressed(address))
        assert len(fake.tasks) == 10
        assert any("expected a picture, got" in note and "refused" in note for note in heard.notes)

    @pytest.mark.parametrize("base", ["pictures", "ftp://a/b", "http://a/b?key=secret", "http://me:secret@a/b", "http://["])
    def test_no_address_of_the_web(self, base):
        with pytest.raises(ConfigError, match="--images-url: expected an address of the web") as caught:
            Addressed(base)
        assert "me:secret" not in str(caught.value)

    def test_on_the_servers_machine(self, fake, batch, tmp_path):
        fake.root = str(tmp_path)
        for _ in range(2):
            sent(fake, batch, Served(tmp_path))
        assert fake.tasks[1]["data"]["image"] == "/data/local-files/?d=photos/cam%201/%C3%A4%20%26%20%231.jpg"
        storage, = fake.storages
        assert (storage["path"], storage["use_blob_urls"]) == (str(tmp_path / "photos"), True)

    def test_in_folders_of_the_root_itself(self, fake, batch):
        fake.root = str(batch.dataset.root)
        sent(fake, batch, Served(batch.dataset.root))
        assert [storage["path"] for storage in fake.storages] == [f"{fake.root}/cam 1", f"{fake.root}/cam 2"]

    def test_in_the_root_itself(self, fake, batch):
        save_image(batch.dataset.root / "bare.jpg")
        images = {**batch.dataset.images, "bare.jpg": ImageInfo("bare.jpg", "bare.jpg", 40, 30)}
        bare = Batch(Dataset(batch.dataset.root, ("ant", "bee"), (1, 2), images, {}), (*NAMES, "bare.jpg"),
                     {**batch.detections, "bare.jpg": batch.detections[NAMES[0]]}, batch.info)
        with pytest.raises(StateError, match="no file that lies in its root itself, got .* with bare.jpg in it"):
            sent(fake, bare, Served(batch.dataset.root))

    def test_in_no_folder_of_the_server(self, fake, batch, tmp_path):
        fake.root = "/label-studio/files"
        with pytest.raises(StateError, match=r"expected the server to show its folder .*photos, got 400 \(Absolute "):
            sent(fake, batch, Served(tmp_path))
        with pytest.raises(ConfigError, match="--document-root: expected a folder that holds .*photos, got .*cam 1"):
            sent(fake, batch, Served(batch.dataset.root / "cam 1"))
        fake.root = str(tmp_path)
        fake.wrong["GET /data/local-files/"] = [(404, {}, b"")]
        with pytest.raises(StateError, match="expected a picture, got none; start Label Studio with LABEL_STUDIO"):
            sent(fake, batch, Served(tmp_path))
        assert fake.tasks == {}

    def test_copies_of_what_no_browser_shows(self, fake, tmp_path):
        dataset = odd_pictures(tmp_path / "odd")
        for name in dataset.images:
            kind, content = for_browsers(dataset, name)
            path = tmp_path / f"copy{Path(kind).suffix}"
            path.write_bytes(content)
            with Image.open(path) as copy:
                assert copy.format in ("PNG", "JPEG")
                assert copy.size == ((40, 30) if copy.format == "PNG" else (30, 40)), "a JPEG is turned by browsers"
                assert copy.mode in ("RGB", "L")
                if name == "wide.png":
                    assert np.asarray(copy).max() == 255
        batch = Batch(dataset, tuple(sorted(dataset.images)), dict.fromkeys(dataset.images, Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))), {})
        fake.root = str(tmp_path)
        sent(fake, batch, Served(tmp_path))
        shown = {task["data"]["path"]: task["data"]["image"].rpartition("/")[0] for task in fake.tasks.values()}
        assert shown == {name: "/data/local-files/?d=odd" if name == "turned.jpg" else "/data/upload/1"
                         for name in dataset.images}


def odd_pictures(root: Path) -> Dataset:
    root.mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("turned.jpg", "turned.png", "turned.webp"):
        picture.transpose(Image.Transpose.ROTATE_90).save(root / name, exif=exif)
    picture.save(root / "a.tif")
    picture.save(root / "p.ppm")
    Image.fromarray(np.linspace(0, 4095, 1200).astype(np.uint16).reshape(30, 40)).save(root / "wide.png")
    names = sorted(path.name for path in root.iterdir())
    return Dataset(root, ("ant",), (1,), {name: ImageInfo(name, name, 40, 30) for name in names}, {}, white=4095)


def test_the_export_is_as_it_came(fake, batch):
    sent(fake, batch)
    fake.annotate(NAMES[0], result=[{"id": "a", "value": {"x": 1.25}}])
    with Server(fake.url, LEGACY) as asked:
        assert studio.Project(asked, 1).export() == json.loads(json.dumps(list(fake.tasks.values())))
