"""The authors' repositories, each at the commit whose code the golden numbers come from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Repository:
    """One repository on GitHub; ``license`` is what its files state, as far as known."""

    owner: str
    name: str
    commit: str
    license: str = "none stated"

    @property
    def url(self) -> str:
        return f"https://github.com/{self.owner}/{self.name}"


# The version of the CVPR paper; it is the parent of commit 351400e.
CIRKD = Repository("winycg", "CIRKD", "2d8ad0f703676da698abdf077cc5a67181d1c635")
GSKD = Repository("MaryAhn", "GSKD", "641ddeb3a9fb12b0c307a448cdc7430d3809b2f0")
AICSD = Repository("AmirMansurian", "AICSD", "f99949ee9dae4f5e50f92f80a969121b42ceaa27")
CSKD = Repository("ayoubkarine", "CSKD", "1adf94fee9a830e1b68d7e6f958cfb3db2cfe6f4")
DIST = Repository("hunto", "DIST_KD", "2418f18b1fedd7c2646a7b1b9a27d5c674c2170b", "Apache-2.0")
SOTA = Repository("hunto", "image_classification_sota", "6f7a70a1dd57fd88413d83909d3d53243068f701", "Apache-2.0")
MASKD = Repository("hunto", "MasKD", "b5af34fe343f1b82689291871f85b97a6aea4278", "Apache-2.0")
AF_DCD = Repository("OSVAI", "Af-DCD", "5b086a7b4d92e5d14208d95347f05c014e5ca84a", "Apache-2.0")
ICKD = Repository("ADLab-AutoDrive", "ICKD", "403b8d3d7c3aaa429e4708870d2be1d4daf92f07")
REP_DISTILLER = Repository("HobbitLong", "RepDistiller", "b84f547c5db6a35318d4671d7d5c4de74c822403", "BSD-2-Clause")
OFD = Repository("clovaai", "overhaul-distillation", "76344a84a7ce23c894f41a2e05b866c9b73fd85a", "MIT")
SRRL = Repository("jingyang2017", "KD_SRRL", "d2e802f5f57efd4f5bc6326a697b48236008a5b6", "MIT")
REVIEW_KD = Repository("dvlab-research", "ReviewKD", "cede6ea6387ae9b6127de0e561507177bf19c11e")
CHANNEL = Repository("zhouzaida", "channel-distillation", "2464d30ba01e11491e520e51be498c91f1e54b91")
FREE_KD = Repository("Gumpest", "FreeKD", "e0874f5da980e762577cfb472e76d895ef7261a8", "Apache-2.0")
TORCHDISTILL = Repository("yoshitomo-matsubara", "torchdistill", "3e4373c45214c5c56eebac481d5bfe8b8735aa05", "MIT")
GKD = Repository("Younger-hua", "GKD", "da68631af99eb1891bf7f00b31834d2b3058decc", "MIT")
