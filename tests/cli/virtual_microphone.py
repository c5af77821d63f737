"""A microphone made of a PulseAudio null sink: what is played into it, PortAudio hears. No sound card."""

import os
import subprocess
import time
from pathlib import Path


class VirtualMicrophone:
    """A private sound server in `folder`; programs started with `env` have its microphone as default."""

    def __init__(self, folder: Path, rate: int = 16_000) -> None:
        self.rate = rate
        self.socket = folder / "pulse.sock"
        home = folder / "home"
        home.mkdir()
        folder.chmod(0o700)
        self.env = os.environ | {
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(home),
            "PULSE_SERVER": f"unix:{self.socket}",
        }
        script = folder / "pulse.pa"
        script.write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={self.socket}\n"
            f"load-module module-null-sink sink_name=vspk rate={rate} channels=1 format=s16le\n"
            "load-module module-remap-source source_name=vmic master=vspk.monitor\n"
            "set-default-sink vspk\n"
            "set-default-source vmic\n"
        )
        options = ["--daemonize=no", "--exit-idle-time=-1", "--disallow-exit", "--use-pid-file=no"]
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "-F", str(script), *options], env=self.env, stderr=subprocess.DEVNULL
        )
        self._await()

    def _await(self) -> None:
        """Until the server answers: its socket is there before its microphone is."""
        for _ in range(200):
            probe = subprocess.run(
                ["pactl", "list", "short", "sources"],
                env=self.env,
                capture_output=True,
                text=True,
                check=False,
            )
            if "vmic" in probe.stdout:
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError("pulseaudio did not start within 10 s")

    def play(self, wav: Path) -> None:
        """Play a file into the microphone, to its end."""
        subprocess.run(["paplay", str(wav)], env=self.env, check=True, timeout=60)

    def kill(self) -> None:
        """The server dies, as when a device is torn out."""
        self._server.kill()
        self._server.wait()
